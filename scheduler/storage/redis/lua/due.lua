-- The texts of the schedules that are due by ARGV[1], longest first, at most ARGV[2].

local ids = {}
local high = "(" .. ARGV[1] .. END
for i, member in ipairs(call("ZRANGE", TURNS, "-", high, "BYLEX", "LIMIT", 0, ARGV[2])) do
  ids[i] = sub(member, #ARGV[1] + 1)
end
return values_of(SCHEDULES, values_of(SCHEDULE_NAMES, ids))
