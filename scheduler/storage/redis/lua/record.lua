-- Writes expansions, each whole. ARGV, of each: the schedule's name; its id, revision and cursor as
-- they must still be; "1" if it is removed; its new text; then four lists, each after its length:
-- of jobs (id, state, record), of skips (key, rest), of notes (key, rest), and of cancellations
-- (id, status as it must still be, new status, completed_at). Answers 1 for each that was written.

local written, won = {}, {}
while is_more() do
  local each = {
    name = take(), id = take(), revision = take(), cursor = take(), removes = take(), text = take(),
    jobs = take_list(3), skips = take_list(2), notes = take_list(2), cancelled = take_list(4),
  }
  local old = stored_schedule(each.name)
  local is_before = old and old.id == each.id and old.revision == each.revision
    and old.cursor == each.cursor
  written[#written + 1] = is_before and 1 or 0
  if is_before then
    won[#won + 1] = each
  end
end

for _, each in ipairs(won) do
  for _, item in ipairs(each.cancelled) do
    local id, from, to, completed = unpack(item)
    local state = state_of(id)
    if state and state.status == from then
      put(id, changed(state, {status = to, completed = completed, token = "", expires = ""}))
    end
  end
  for _, item in ipairs(each.jobs) do
    local id, state, record = item[1], parsed(item[2]), item[3]
    if not state_of(id) and not is_taken(id, state) then
      put(id, state, record)
    end
  end
end
commit()

for _, each in ipairs(won) do
  if each.removes == "1" then
    remove_schedule(each.name)
  else
    keep(each.name, each.text)
    for _, item in ipairs(each.skips) do
      call("ZREMRANGEBYLEX", SKIPS, "[" .. item[1], "(" .. item[1] .. END)
      call("ZADD", SKIPS, 0, item[1] .. item[2])
    end
    for _, item in ipairs(each.notes) do
      if not first(NOTES, "[" .. item[1], "(" .. item[1] .. END) then
        call("ZADD", NOTES, 0, item[1] .. item[2])
      end
    end
  end
end
return written
