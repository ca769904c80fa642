-- The jobs of the ids in ARGV.

return jobs(ARGV)
