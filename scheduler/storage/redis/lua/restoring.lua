-- What a restore is about, and what is there already. ARGV is five lists, each after its length: of
-- jobs (id, state, record), of schedules (name, text), of skips, notes and attempts (key, rest).

local given = {
  jobs = take_list(3), schedules = take_list(2),
  skips = take_list(2), notes = take_list(2), attempts = take_list(2),
}

-- The members of a set that begin with the keys of these items.
local function members_of(key, items)
  local found = {}
  for _, item in ipairs(items) do
    found[#found + 1] = first(key, "[" .. item[1], "(" .. item[1] .. END)
  end
  return found
end

-- What is there under the keys of what is given: ids of jobs, texts of schedules, and members.
local function there()
  local ids, texts = {}, {}
  for _, item in ipairs(given.jobs) do
    local id, state = item[1], parsed(item[2])
    ids[#ids + 1] = call("HEXISTS", STATES, id) == 1 and id or nil
    if sub(state.occurrence, -1) == "0" then
      local place = state.schedule .. END .. state.occurrence
      local member = first(OCCURRENCES, "[" .. place, "(" .. place .. END)
      ids[#ids + 1] = member and sub(member, #place + 1) or nil
    end
  end
  for _, item in ipairs(given.schedules) do
    local named = call("HGET", SCHEDULES, item[1])
    local name = call("HGET", SCHEDULE_NAMES, schedule_in(item[2]).id)
    texts[#texts + 1] = named or nil
    texts[#texts + 1] = name and call("HGET", SCHEDULES, name) or nil
  end
  return {
    ids, texts, members_of(SKIPS, given.skips), members_of(NOTES, given.notes),
    members_of(ATTEMPTS, given.attempts),
  }
end
