-- The recorded attempts of the jobs in ARGV.

local found = {}
for _, id in ipairs(ARGV) do
  for _, member in ipairs(range(ATTEMPTS, "[" .. id .. END, "(" .. id .. END .. END)) do
    found[#found + 1] = member
  end
end
return found
