-- The skips of the schedule ARGV[1], the last first: at most ARGV[4] (-1: any number) of those that
-- end at ARGV[2] or later ("": whenever) and begin before ARGV[3] ("": whenever).

local prefix, start, limit = ARGV[1] .. END, ARGV[2], tonumber(ARGV[4])
local high, low = "(" .. prefix .. (ARGV[3] ~= "" and ARGV[3] or END), "[" .. prefix
local number = start == "" and limit or -1
local members = call("ZRANGE", SKIPS, high, low, "BYLEX", "REV", "LIMIT", 0, number)
local found = {}
for _, member in ipairs(members) do
  local last = sub(member, #prefix + 19, #prefix + 36)
  if #found ~= limit and (start == "" or not later(start, last)) then
    found[#found + 1] = member
  end
end
return found
