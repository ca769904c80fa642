-- Writes the outcomes of leased jobs. ARGV, of each: the id, the lease's token, the instant by which
-- it must have run out ("": it need not), the state, the record, and the attempt to put on record
-- (key and rest; "": none). Answers 1 where it still held.

local held, attempts = {}, {}
for i = 1, #ARGV, 7 do
  local id, token, expired_by = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = state_of(id)
  local holds = state and state.status == "processing" and state.token == token
    and (expired_by == "" or not later(state.expires, expired_by))
  if holds then
    put(id, parsed(ARGV[i + 3]), ARGV[i + 4])
    if ARGV[i + 5] ~= "" then
      attempts[#attempts + 1] = {ARGV[i + 5], ARGV[i + 6]}
    end
  end
  held[#held + 1] = holds and 1 or 0
end
commit()
for _, item in ipairs(attempts) do
  call("ZREMRANGEBYLEX", ATTEMPTS, "[" .. item[1], "(" .. item[1] .. END)
  call("ZADD", ATTEMPTS, 0, item[1] .. item[2])
end
return held
