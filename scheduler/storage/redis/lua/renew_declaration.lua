-- Writes that the process ARGV[1] was seen at ARGV[2]. Answers 1, or 0 if it declares nothing.

local stored = call("HGET", DECLARATIONS, ARGV[1])
if not stored then
  return 0
end
call("HSET", DECLARATIONS, ARGV[1], ARGV[2] .. sub(stored, #ARGV[2] + 1))
return 1
