-- Extends leases. ARGV: until when, then the id and the token of each. Answers the ids that held.

local held = {}
for i = 2, #ARGV, 2 do
  local id, state = ARGV[i], state_of(ARGV[i])
  if state and state.status == "processing" and state.token == ARGV[i + 1] then
    put(id, changed(state, {expires = ARGV[1]}))
    held[#held + 1] = id
  end
end
commit()
return held
