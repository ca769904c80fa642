-- How many jobs stand in each of the statuses in ARGV.

local counts = {}
for i, status in ipairs(ARGV) do
  counts[i] = call("ZLEXCOUNT", STATUSES, "[" .. status .. END, "(" .. status .. END .. END)
end
return counts
