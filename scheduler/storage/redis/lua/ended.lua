-- A step through the jobs: at most ARGV[1] of them in order of id, above ARGV[2] and below ARGV[3]
-- ("": no bound, else "=" and it). Then ARGV is pairs of a status and the instant before which a job
-- ended in it. Answers how many there were, the last one's id, the id and state of each that ended
-- so, and the texts of the schedules that are there of those.

local low = ARGV[2] ~= "" and "(" .. sub(ARGV[2], 2) or "-"
local high = ARGV[3] ~= "" and "(" .. sub(ARGV[3], 2) or "+"
local before = {}
for i = 4, #ARGV, 2 do
  before[ARGV[i]] = ARGV[i + 1]
end

local ids = call("ZRANGE", IDS, low, high, "BYLEX", "LIMIT", 0, ARGV[1])
local ended, schedules, seen = {}, {}, {}
for i, text in ipairs(values_of(STATES, ids)) do
  local state = parsed(text)
  local until_at = before[state.status]
  if until_at and state.completed ~= "" and later(until_at, state.completed) then
    ended[#ended + 1] = ids[i]
    ended[#ended + 1] = text
    local schedule = sub(state.schedule, 2)
    if state.schedule ~= "" and not seen[schedule] then
      seen[schedule] = true
      local name = call("HGET", SCHEDULE_NAMES, schedule)
      schedules[#schedules + 1] = name and call("HGET", SCHEDULES, name) or nil
    end
  end
end
return {#ids, ids[#ids] or "", ended, schedules}
