-- The pending jobs, blocked ones too, of one priority (ARGV[1]; "": of any) that are scheduled from
-- ARGV[2] on ("": whenever) and before ARGV[3] ("": whenever); in no order.

local ids = {}

local function find(key, partition, prefix)
  local high = "(" .. prefix .. (ARGV[3] ~= "" and ARGV[3] or END)
  for _, member in ipairs(range(key, "[" .. prefix .. ARGV[2], high)) do
    ids[#ids + 1] = sub(member, #partition + RANK + 1)
  end
end

for _, key in ipairs({PENDING, KEYED, BLOCKED}) do
  for _, partition in ipairs(partitions(key)) do
    if ARGV[1] ~= "" then
      find(key, partition, partition .. ARGV[1])
    else
      for _, priority in ipairs(priorities(key, partition)) do
        find(key, partition, priority.prefix)
      end
    end
  end
end
return jobs(ids)
