-- Writes a schedule over the revision before it. ARGV: its name, that revision ("": it is new) and
-- its text. Answers 1, or 0 if another wrote it in between.

local name, revision, text = ARGV[1], ARGV[2], ARGV[3]
local old, new = stored_schedule(name), schedule_in(text)
if revision == "" then
  if old or call("HEXISTS", SCHEDULE_NAMES, new.id) == 1 then
    return 0
  end
elseif not old or old.id ~= new.id or old.revision ~= revision or later(old.cursor, new.cursor) then
  return 0
end
keep(name, text)
return 1
