-- Walking the pending jobs: PENDING (those without a concurrency key), KEYED and HEADS (those with
-- one: all, and the first of each) and BLOCKED. Their members are name, queue, priority,
-- scheduled_at and id: all that share a name and a queue (a partition) stand together, and in it
-- all of one priority. Whatever is not asked for is stepped over, with one look-up for a whole
-- partition or priority.

-- The prefixes of the partitions of these names (nil: any) and this queue (nil: any).
local function partitions(key, names, queue)
  local found = {}

  local function find_queues(name)
    if queue then
      found[#found + 1] = name .. END .. queue .. END
      return
    end
    local low, high = "[" .. name .. END, "(" .. name .. END .. END .. END
    local member = first(key, low, high)
    while member do
      local partition = match(member, "^[^\255]*\255[^\255]*\255")
      found[#found + 1] = partition
      member = first(key, "[" .. partition .. END, high)
    end
  end

  if names then
    for _, name in ipairs(names) do
      find_queues(name)
    end
    return found
  end
  local member = first(key, "-", "+")
  while member do
    local name = match(member, "^[^\255]*")
    find_queues(name)
    member = first(key, "[" .. name .. END .. END .. END, "+")
  end
  return found
end

-- Every priority that a partition has: the prefix of its members, and the instant of the first.
local function priorities(key, partition)
  local found, high = {}, "(" .. partition .. END
  local member = first(key, "[" .. partition, high)
  while member do
    local prefix = sub(member, 1, #partition + PRIORITY)
    found[#found + 1] = {prefix = prefix, at = sub(member, #prefix + 1, #partition + RANK)}
    member = first(key, "[" .. prefix .. END, high)
  end
  return found
end

-- The sets of the jobs that wait for no other: that of those with a key if there are any.
local function ready_sets()
  return call("EXISTS", KEYED) == 1 and {PENDING, KEYED} or {PENDING}
end
