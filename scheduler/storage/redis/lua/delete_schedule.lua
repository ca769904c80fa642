-- Removes the schedule named ARGV[1] and its record. Answers 1, or 0 if there is none.

return remove_schedule(ARGV[1]) and 1 or 0
