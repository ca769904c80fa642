-- Reading ARGV from the front: single arguments, and lists of items after their length.

local at = 0

local function take()
  at = at + 1
  return ARGV[at]
end

-- The next list, whose items are of so many arguments.
local function take_list(width)
  local items = {}
  for i = 1, tonumber(take()) do
    items[i] = {}
    for j = 1, width do
      items[i][j] = take()
    end
  end
  return items
end

local function is_more()
  return at < #ARGV
end
