-- Which jobs are leased under a token. ARGV: the id and the token of each. Answers their ids.

local ids, held = {}, {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
for i, text in ipairs(values_of(STATES, ids)) do
  if text and parsed(text).token == ARGV[2 * i] then
    held[#held + 1] = ids[i]
  end
end
return held
