-- The notes of the schedule ARGV[1], by revision.

local prefix = ARGV[1] .. END
return range(NOTES, "[" .. prefix, "(" .. prefix .. END)
