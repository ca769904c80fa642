-- Writing schedules, whose text is id, revision, cursor, when next due ("": never) and record.

local SCHEDULE = "^([^\255]*)\255([^\255]*)\255([^\255]*)\255([^\255]*)\255"

local function schedule_in(text)
  if not text then
    return nil
  end
  local id, revision, cursor, due = match(text, SCHEDULE)
  return {id = id, revision = revision, cursor = cursor, due = due}
end

local function stored_schedule(name)
  return schedule_in(call("HGET", SCHEDULES, name))
end

local function keep(name, text)
  local old, new = stored_schedule(name), schedule_in(text)
  if old and old.due ~= "" and old.due ~= new.due then
    call("ZREM", TURNS, old.due .. old.id)
  end
  call("HSET", SCHEDULES, name, text)
  call("HSET", SCHEDULE_NAMES, new.id, name)
  if new.due ~= "" then
    call("ZADD", TURNS, 0, new.due .. new.id)
  end
end

-- Removes a schedule with its skips and notes; false if there is none.
local function remove_schedule(name)
  local old = stored_schedule(name)
  if not old then
    return false
  end
  call("HDEL", SCHEDULES, name)
  call("HDEL", SCHEDULE_NAMES, old.id)
  call("ZREM", TURNS, old.due .. old.id)
  for _, key in ipairs({SKIPS, NOTES}) do
    call("ZREMRANGEBYLEX", key, "[" .. old.id .. END, "(" .. old.id .. END .. END)
  end
  return true
end
