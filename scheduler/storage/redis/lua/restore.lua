-- Writes what is given (restoring.lua), all or nothing: 0 if anything is there by now, else 1.

for _, found in ipairs(there()) do
  if #found > 0 then
    return 0
  end
end
for _, item in ipairs(given.jobs) do
  local id, state = item[1], parsed(item[2])
  state_of(id)
  put(id, state, item[3])
end
commit()
for _, item in ipairs(given.schedules) do
  keep(item[1], item[2])
end
local sets = {[SKIPS] = given.skips, [NOTES] = given.notes, [ATTEMPTS] = given.attempts}
for key, items in pairs(sets) do
  for _, item in ipairs(items) do
    call("ZADD", key, 0, item[1] .. item[2])
  end
end
return 1
