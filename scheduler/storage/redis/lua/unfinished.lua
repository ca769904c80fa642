-- The pending and processing jobs of the schedules in ARGV, by schedule and whether of its series.

local ids = {}
for _, schedule in ipairs(ARGV) do
  local prefix = schedule .. END
  for _, member in ipairs(range(UNFINISHED, "[" .. prefix, "(" .. prefix .. END)) do
    ids[#ids + 1] = sub(member, #prefix + 20)
  end
end
return jobs(ids)
