-- The declarations of the processes seen since ARGV[1]; the others are removed.

local all, seen = call("HGETALL", DECLARATIONS), {}
for i = 1, #all, 2 do
  if later(ARGV[1], sub(all[i + 1], 1, #ARGV[1])) then
    call("HDEL", DECLARATIONS, all[i])
  else
    seen[#seen + 1] = all[i + 1]
  end
end
return seen
