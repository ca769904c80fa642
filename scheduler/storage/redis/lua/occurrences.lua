-- The jobs of a schedule (ARGV[1]) with occurrences from ARGV[2] on and before ARGV[3].

local prefix = ARGV[1] .. END
local members = range(OCCURRENCES, "[" .. prefix .. ARGV[2], "(" .. prefix .. ARGV[3])
return jobs_behind(members, #prefix + 19)
