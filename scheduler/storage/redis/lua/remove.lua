-- Removes finished jobs with their attempts. ARGV, of each: its id, and its state as it must still
-- be. Answers how many were removed.

local ids, gone = {}, {}

local function leave(key, member)
  local members = gone[key] or {}
  gone[key] = members
  members[#members + 1] = member or nil
end

for i = 1, #ARGV, 2 do
  local id, text = ARGV[i], ARGV[i + 1]
  if call("HGET", STATES, id) == text then
    local state = parsed(text)
    ids[#ids + 1] = id
    leave(STATUSES, state.status .. END .. id)
    leave(NAMES, state.name .. END .. id)
    leave(OWNED, in_owned(id, state))
    leave(OCCURRENCES, in_occurrences(id, state))
  end
end
for key, members in pairs(gone) do each_chunk("ZREM", key, members) end
each_chunk("ZREM", IDS, ids)
each_chunk("HDEL", STATES, ids)
each_chunk("HDEL", JOBS, ids)
for _, id in ipairs(ids) do
  call("ZREMRANGEBYLEX", ATTEMPTS, "[" .. id .. END, "(" .. id .. END .. END)
end
return #ids
