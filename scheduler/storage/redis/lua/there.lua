-- What is there under the keys of what is given (restoring.lua): five lists, of the id, state and
-- record of each job, of texts of schedules, and of members of skips, of notes and of attempts.

local found = there()
found[1] = jobs(found[1])
return found
