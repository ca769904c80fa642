-- Saves new jobs, all or none. ARGV: the id, state and record of each. Answers "" or what is taken,
-- "id" or "occurrence", and by which of the jobs.

for i = 1, #ARGV, 3 do
  local id, state, record = ARGV[i], parsed(ARGV[i + 1]), ARGV[i + 2]
  if state_of(id) then
    return {"id", id}
  end
  if is_taken(id, state) then
    return {"occurrence", id}
  end
  put(id, state, record)
end
commit()
return {"", ""}
