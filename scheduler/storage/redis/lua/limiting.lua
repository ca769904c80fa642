-- How many jobs of a name and a concurrency key may be started, as flow.py has it. RUNNING holds
-- those that are processing: name, key, id. STARTS holds when those with a rate were started:
-- name, key, instant, and what no two starts share; STALE has each member of STARTS behind the
-- instant at which nobody counts it any more, so that those of a key that never comes again go too.

-- How many more starts one acquisition forgets, at most, than it adds.
local FORGOTTEN = 1000

-- The limits that a caller has, by name: how many at a time ("": any), how many starts ("": any),
-- the instants between which, both exclusive, starts count, and that at which they are forgotten.
local function take_limits()
  local found = {}
  for _, item in ipairs(take_list(6)) do
    found[item[1]] = {
      concurrency = tonumber(item[2]), count = tonumber(item[3]), since = item[4],
      till = item[5], forgotten = item[6],
    }
  end
  return found
end

local rooms, started = {}, {}

local function room(limit, flow)
  local left = math.huge
  if limit.concurrency then
    left = limit.concurrency - call("ZLEXCOUNT", RUNNING, "[" .. flow, "(" .. flow .. END)
  end
  if limit.count then
    local since = "[" .. flow .. limit.since .. END
    local till = "(" .. flow .. limit.till
    left = math.min(left, limit.count - call("ZLEXCOUNT", STARTS, since, till))
  end
  return left
end

-- Whether a limit (nil: none) lets one more job of this name and key start.
local function has_room(limit, name, key)
  if not limit then
    return true
  end
  local flow = name .. END .. key .. END
  rooms[flow] = rooms[flow] or room(limit, flow)
  return rooms[flow] > 0
end

-- Counts a job of this name and key, for which there is room.
local function start(limit, name, key)
  if not limit then
    return
  end
  local flow = name .. END .. key .. END
  rooms[flow] = rooms[flow] - 1
  if limit.count then
    started[#started + 1] = {flow = flow, limit = limit}
  end
end

-- Writes what was admitted, and forgets what counts no more. `token` is this acquisition's alone.
local function keep_starts(now, token)
  local starts, stale = {}, {}
  for i, each in ipairs(started) do
    local member = each.flow .. now .. token .. i
    call("ZREMRANGEBYLEX", STARTS, "[" .. each.flow, "(" .. each.flow .. each.limit.since .. END)
    starts[#starts + 1] = 0
    starts[#starts + 1] = member
    stale[#stale + 1] = 0
    stale[#stale + 1] = each.limit.forgotten .. member
  end
  each_chunk("ZADD", STARTS, starts)
  each_chunk("ZADD", STALE, stale)
  if #started > 0 then
    local high, most = "(" .. now .. END, FORGOTTEN + #started
    local members = call("ZRANGE", STALE, "-", high, "BYLEX", "LIMIT", 0, most)
    each_chunk("ZREM", STALE, members)
    for i, member in ipairs(members) do
      members[i] = sub(member, #now + 1)
    end
    each_chunk("ZREM", STARTS, members)
  end
end
