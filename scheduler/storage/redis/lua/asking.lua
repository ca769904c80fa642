-- The names and the queue that a caller asks for, at the end of ARGV: whether any name will do
-- ("*"), the queue ("" for any, else "=" and it), and the names.
local function asked()
  local names, queue = take() ~= "*" and {} or nil, take()
  while is_more() do
    names[#names + 1] = take()
  end
  return names, queue ~= "" and sub(queue, 2) or nil
end
