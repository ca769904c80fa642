-- Writing jobs: state_of and put say what changes, commit writes it and moves it in every index.
-- Nothing is written before commit, so that a script may still refuse; removals go first, so
-- that a server which is out of memory, and refuses a script's first write if that adds, refuses
-- new jobs and still lets the old ones end.

local was, becomes, records, touched = {}, {}, {}, {}

-- The state of a job as this script has it by now; false if there is none.
local function state_of(id)
  if was[id] == nil then
    local text = call("HGET", STATES, id)
    was[id] = text and parsed(text) or false
    becomes[id] = was[id]
    touched[#touched + 1] = id
  end
  return becomes[id]
end

-- Gives a job that state_of was asked about another state, and another record if there is one.
local function put(id, state, record)
  becomes[id] = state
  records[id] = record or records[id]
end

-- `state` with some fields changed: another table.
local function changed(state, fields)
  for field, value in pairs(state) do
    fields[field] = fields[field] or value
  end
  return fields
end

local claimed = {}

-- Whether the occurrence in `state` belongs to another job than `id`; if not, it is `id`'s now.
local function is_taken(id, state)
  if sub(state.occurrence, -1) ~= "0" then
    return false
  end
  local key = state.schedule .. END .. state.occurrence
  local member = first(OCCURRENCES, "[" .. key, "(" .. key .. END)
  local owner = claimed[key] or member and sub(member, #key + 1)
  if owner and owner ~= id then
    return true
  end
  claimed[key] = id
  return false
end

-- --- the indexes: the member by which each knows a job, or nothing -------------------------

-- A pending job's place in PENDING, in KEYED if it has a concurrency key, or in BLOCKED while it
-- waits for an earlier one.
local function turn(id, state)
  return state.status == "pending" and state.name .. END .. state.queue .. END .. state.rank .. id
end

-- What counts for the limits of a name, by key.
local function in_running(id, state)
  return state.status == "processing" and state.name .. END .. state.key .. END .. id
end

local function in_unfinished(id, state)
  return state.place ~= "" and (state.status == "pending" or state.status == "processing")
    and state.schedule .. END .. state.place .. id
end

local function in_occurrences(id, state)
  return state.occurrence ~= "" and state.schedule .. END .. state.occurrence .. id
end

local function in_owned(id, state)
  return state.schedule ~= "" and state.schedule .. END .. id
end

local function in_leases(id, state)
  return state.status == "processing" and state.token ~= "" and state.expires .. id
end

-- --- turns: the jobs that wait for no other ------------------------------------------------

-- Those with a key stand in KEYED with those of all keys, and in BY_KEY with those of their own:
-- name, queue, key, rank and id. So that the jobs of a key that is full are stepped over at once,
-- the first of each key and priority (a group) is in HEADS too, which ends in the key.
local group_heads = {}

local function head_of_group(group)
  return first(BY_KEY, "[" .. group, "(" .. group .. END) or ""
end

-- act(key, member) for each place of a job that is ready. The heads of its group are remembered
-- before it is first touched.
local function each_place(id, state, act)
  if state.key == "" then
    act(PENDING, turn(id, state))
    return
  end
  local own = state.name .. END .. state.queue .. END .. state.key .. END
  local group = own .. sub(state.rank, 1, PRIORITY)
  group_heads[group] = group_heads[group] or head_of_group(group)
  act(KEYED, turn(id, state))
  act(BY_KEY, own .. state.rank .. id)
end

local function in_heads(member)
  local partition, key, rest = match(member, "^([^\255]*\255[^\255]*\255)([^\255]*)\255(.*)$")
  return partition .. rest .. END .. key
end

-- Makes HEADS follow the groups that were touched.
local function move_heads()
  for group, before in pairs(group_heads) do
    local now = head_of_group(group)
    if before ~= now then
      if before ~= "" then call("ZREM", HEADS, in_heads(before)) end
      if now ~= "" then call("ZADD", HEADS, 0, in_heads(now)) end
    end
  end
end

-- --- series: serial jobs run one after the other -------------------------------------------

local function is_in_series(state)
  return sub(state.place, 1, 1) == "0"
end

-- Where the first unfinished job of a schedule's series stands; nothing without one. The serial
-- ones of that place may run, those of all later places are in BLOCKED.
local function first_place(schedule)
  local member = first(UNFINISHED, "[" .. schedule .. END .. "0", "(" .. schedule .. END .. "1")
  return member and sub(member, #schedule + 2, #schedule + 20)
end

local function zadd(key, member) call("ZADD", key, 0, member) end
local function zrem(key, member) call("ZREM", key, member) end

-- The serial pending jobs of one place become ready, or are to wait.
local function move_turns(schedule, place, is_ready)
  local prefix = schedule .. END .. place
  for _, member in ipairs(range(UNFINISHED, "[" .. prefix, "(" .. prefix .. END)) do
    local id = sub(member, #prefix + 1)
    local state = state_of(id)
    if state.status == "pending" and state.serial == "1" then
      if is_ready then
        zrem(BLOCKED, turn(id, state))
        each_place(id, state, zadd)
      else
        each_place(id, state, zrem)
        zadd(BLOCKED, turn(id, state))
      end
    end
  end
end

-- --- commit --------------------------------------------------------------------------------

local removed, added, places = {}, {}, {}

local function remove(key, member)
  local members = removed[key] or {}
  removed[key] = members
  members[#members + 1] = member
end

local function add(key, member)
  local members = added[key] or {}
  added[key] = members
  members[#members + 1] = 0
  members[#members + 1] = member
end

local function swap(key, from, to)
  if from ~= to then
    if from then remove(key, from) end
    if to then add(key, to) end
  end
end

-- Remembers where the series of a schedule begins, which is about to change.
local function concern(schedule)
  places[schedule] = places[schedule] or first_place(schedule) or ""
end

-- Moves a job in the indexes, from how it was (false: it is new) to how it becomes.
local function reindex(id, old, new)
  if not old then
    add(IDS, id)
  end
  if not old or old.status ~= new.status then
    swap(STATUSES, old and old.status .. END .. id, new.status .. END .. id)
  end
  if not old or old.name ~= new.name then
    swap(NAMES, old and old.name .. END .. id, new.name .. END .. id)
  end
  swap(OWNED, old and in_owned(id, old), in_owned(id, new))
  swap(OCCURRENCES, old and in_occurrences(id, old), in_occurrences(id, new))
  swap(LEASES, old and in_leases(id, old), in_leases(id, new))
  swap(RUNNING, old and in_running(id, old), in_running(id, new))

  local was_in, is_in = old and in_unfinished(id, old), in_unfinished(id, new)
  if was_in ~= is_in then
    swap(UNFINISHED, was_in, is_in)
    if was_in and is_in_series(old) then concern(old.schedule) end
    if is_in and is_in_series(new) then concern(new.schedule) end
  end

  local from, to = old and turn(id, old), turn(id, new)
  if from ~= to or to and (was_in ~= is_in or old.serial ~= new.serial or old.key ~= new.key) then
    if from then
      each_place(id, old, remove)
      if old.serial == "1" then remove(BLOCKED, from) end
    end
    if to and new.serial == "1" then
      add(BLOCKED, to)
      concern(new.schedule)
    elseif to then
      each_place(id, new, add)
    end
  end
end

local function commit()
  local states, texts = {}, {}
  for i = 1, #touched do
    local id = touched[i]
    local old, s = was[id], becomes[id]
    if s ~= old then
      reindex(id, old, s)
      states[#states + 1] = id
      states[#states + 1] = table.concat({
        s.status, s.token, s.expires, s.worker, s.started, s.completed,
        s.name, s.queue, s.rank, s.schedule, s.place, s.occurrence, s.serial,
      }, END) .. (s.key ~= "" and END .. s.key or "")
    end
    if records[id] then
      texts[#texts + 1] = id
      texts[#texts + 1] = records[id]
    end
  end
  for key, members in pairs(removed) do each_chunk("ZREM", key, members) end
  for key, members in pairs(added) do each_chunk("ZADD", key, members) end
  each_chunk("HSET", STATES, states)
  each_chunk("HSET", JOBS, texts)
  for schedule, before in pairs(places) do
    local now = first_place(schedule)
    if before ~= "" and before ~= now then
      move_turns(schedule, before, false)
    end
    if now then
      move_turns(schedule, now, true)
    end
  end
  move_heads()
end
