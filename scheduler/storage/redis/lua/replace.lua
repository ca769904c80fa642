-- Overwrites a job. ARGV: its id, state and record, and, where it must still be what was read, the
-- state and record that were. Answers "written", "unknown", "taken" (its occurrence) or "changed".

local id, state, record = ARGV[1], parsed(ARGV[2]), ARGV[3]
if not state_of(id) then
  return "unknown"
end
if ARGV[4] and (call("HGET", STATES, id) ~= ARGV[4] or call("HGET", JOBS, id) ~= ARGV[5]) then
  return "changed"
end
if is_taken(id, state) then
  return "taken"
end
put(id, state, record)
commit()
return "written"
