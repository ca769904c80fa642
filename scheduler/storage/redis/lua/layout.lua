-- What every script begins with, after a line that names its KEYS: reading a job's state, and
-- ranges of sorted sets. What is sorted is sorted by those, byte by byte, all scores being 0: Lua's
-- own < on strings asks the server's locale.

local call, sub, match = redis.call, string.sub, string.match

-- Ends a field. No byte of UTF-8, so that everything that begins with some text is in
-- [text, text .. END).
local END = "\255"

-- Of members: how many digits of priority, and of that and an instant.
local PRIORITY, RANK = 10, 28

-- How many arguments one command is given: unpack has a stack of 8,000.
local CHUNK = 2000

-- A job's state, whose fields values.py writes in job_texts. The last one, the concurrency key, is
-- not there without one, as it is not in the states of version 1.
local FIELD = "([^\255]*)"
local STATE = "^" .. string.rep(FIELD .. END, 12) .. FIELD .. END .. "?" .. FIELD .. "$"

local function parsed(text)
  local state = {}
  state.status, state.token, state.expires, state.worker, state.started, state.completed,
    state.name, state.queue, state.rank, state.schedule, state.place, state.occurrence,
    state.serial, state.key = match(text, STATE)
  return state
end

-- Whether instant a is later than b: each is 12 digits of seconds and 6 of microseconds, since a
-- number of Lua's holds 15.
local function later(a, b)
  local x, y = tonumber(sub(a, 1, 12)), tonumber(sub(b, 1, 12))
  if x ~= y then
    return x > y
  end
  return tonumber(sub(a, 13)) > tonumber(sub(b, 13))
end

local function range(key, low, high)
  return call("ZRANGE", key, low, high, "BYLEX")
end

local function first(key, low, high)
  return call("ZRANGE", key, low, high, "BYLEX", "LIMIT", 0, 1)[1]
end

-- command(key, ...list), so many at a time.
local function each_chunk(command, key, list)
  for from = 1, #list, CHUNK do
    call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
  end
end

-- The values of these fields of a hash; false where there is none.
local function values_of(key, fields)
  local found = {}
  for from = 1, #fields, CHUNK do
    local chunk = call("HMGET", key, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))
    for _, value in ipairs(chunk) do
      found[#found + 1] = value
    end
  end
  return found
end

-- What answers a caller: the id, state and record of each of these jobs, in their order.
local function jobs(ids)
  local states, records, found = values_of(STATES, ids), values_of(JOBS, ids), {}
  for i, id in ipairs(ids) do
    if states[i] then
      found[#found + 1] = id
      found[#found + 1] = states[i]
      found[#found + 1] = records[i]
    end
  end
  return found
end

-- The jobs behind members that end in an id, after so many bytes.
local function jobs_behind(members, before_id)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = sub(member, before_id + 1)
  end
  return jobs(ids)
end
