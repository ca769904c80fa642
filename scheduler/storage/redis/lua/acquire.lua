-- Leases the first due jobs. ARGV: how many, now, the lease's token and expiry, the worker, before
-- when those were due that go first ("": none do), a list of limits (limiting.lua), then what is
-- asked for. Answers the jobs, in order of acquisition.
--
-- No job is ever moved when it falls due: in each priority of a partition the due ones come first.
-- A source per partition has them in order and skips from the first that is not due to the next
-- priority; the sources are merged. So one acquisition looks at what it takes, and at one job for
-- each partition and priority that has nothing due, whatever waits behind those. And it is right
-- for any `now`, also one that is earlier than the last caller's.
--
-- Where a name is limited, of its jobs with a key only the first of each key and priority are read;
-- one that is taken brings in a source of those behind it. So besides, one job is looked at for
-- each key that is full, however many of that key wait. Where the longest due go first, each
-- priority is a source of its own: in one, those come first anyway.

local n, now = tonumber(take()), take()
local token, expires, worker, aged_before = take(), take(), take(), take()
local limits = take_limits()
local names, queue = asked()
local MOST = 128

local function numbers(instant)
  return tonumber(sub(instant, 1, 12)), tonumber(sub(instant, 13))
end

local now_s, now_us = numbers(now)
local aged_s, aged_us = 0, 0
if aged_before ~= "" then
  aged_s, aged_us = numbers(aged_before)
end

-- A source of jobs: those of one name in a set whose members begin with `base` and a rank, from low
-- on and before high; all of them of one key, unless the set is HEADS.
local function source(set, base, low, high, name, key)
  return {
    set = set, base = base, low = low, high = high, name = name, key = key,
    found = {}, at = 0, size = 1,
  }
end

-- The next due job of a source, or nil; of HEADS, the next that its key has room for.
local function following(from)
  while true do
    from.at = from.at + 1
    if from.at > #from.found then
      from.found = call("ZRANGE", from.set, from.low, from.high, "BYLEX", "LIMIT", 0, from.size)
      if #from.found == 0 then
        return nil
      end
      from.at, from.low = 1, "(" .. from.found[#from.found]
      from.size = math.min(2 * from.size, MOST)
    end
    local member = from.found[from.at]
    local rank = sub(member, #from.base + 1, #from.base + RANK)
    local s, us = tonumber(sub(rank, 11, 22)), tonumber(sub(rank, 23))
    if s > now_s or s == now_s and us > now_us then
      from.low = "[" .. from.base .. sub(rank, 1, PRIORITY) .. END
      from.found, from.at, from.size = {}, 0, 1
    else
      local id, key = sub(member, #from.base + RANK + 1), from.key
      if from.set == HEADS then
        id, key = match(id, "^([^\255]*)\255(.*)$")
      end
      if from.set ~= HEADS or has_room(limits[from.name], from.name, key) then
        return {
          priority = tonumber(sub(rank, 1, PRIORITY)), s = s, us = us, rank = rank, id = id,
          is_aged = s < aged_s or s == aged_s and us < aged_us, key = key, source = from,
        }
      end
    end
  end
end

-- Lines up the next job of a source among those of the others.
local function advance(from)
  local job = following(from)
  if job then
    enqueue(job)
  end
end

-- Brings in those of the key of this job, the first of its group, that come after it.
local function advance_group(job)
  local base = job.source.base .. job.key .. END
  local low = "(" .. base .. job.rank .. job.id
  local high = "(" .. base .. sub(job.rank, 1, PRIORITY) .. END
  advance(source(BY_KEY, base, low, high, job.source.name, job.key))
end

local function add_sources(set, partition)
  local name = match(partition, "^[^\255]*")
  if set == KEYED and limits[name] then
    set = HEADS
  end
  local prefixes = {partition}
  if aged_before ~= "" then
    for i, priority in ipairs(priorities(set, partition)) do
      prefixes[i] = priority.prefix
    end
  end
  for _, prefix in ipairs(prefixes) do
    advance(source(set, partition, "[" .. prefix, "(" .. prefix .. END, name, ""))
  end
end

for _, set in ipairs(ready_sets()) do
  for _, partition in ipairs(partitions(set, names, queue)) do
    add_sources(set, partition)
  end
end
local ids = {}
while #ids < n and heap[1] do
  local job = dequeue()
  local from, limit = job.source, limits[job.source.name]
  local is_admitted = has_room(limit, from.name, job.key)
  if is_admitted then
    ids[#ids + 1] = job.id
    start(limit, from.name, job.key)
    if from.set == HEADS and has_room(limit, from.name, job.key) then
      advance_group(job)
    end
  end
  -- Of a key that is full, nothing more is looked at.
  if is_admitted or from.set == HEADS then
    advance(from)
  end
end
for _, id in ipairs(ids) do
  put(id, changed(state_of(id), {
    status = "processing",
    token = token,
    expires = expires,
    worker = worker,
    started = now,
    completed = "",
  }))
end
commit()
keep_starts(now, token)
return jobs(ids)
