-- The earliest instant at which a pending job is due, blocked ones apart; nothing without any.
-- ARGV: the instant that it must be later than ("": any), then what is asked for.

local after = take()
local names, queue = asked()
local earliest

local function consider(at)
  if at and (not earliest or later(earliest, at)) then
    earliest = at
  end
end

for _, key in ipairs(ready_sets()) do
  for _, partition in ipairs(partitions(key, names, queue)) do
    for _, priority in ipairs(priorities(key, partition)) do
      if after == "" or later(priority.at, after) then
        consider(priority.at)
      else
        local prefix = priority.prefix
        local member = first(key, "[" .. prefix .. after .. END, "(" .. prefix .. END)
        consider(member and sub(member, #prefix + 1, #partition + RANK))
      end
    end
  end
end
return earliest
