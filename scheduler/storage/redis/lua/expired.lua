-- The jobs whose leases had run out by ARGV[1], longest first, at most ARGV[2].

local high = "(" .. ARGV[1] .. END
return jobs_behind(call("ZRANGE", LEASES, "-", high, "BYLEX", "LIMIT", 0, ARGV[2]), #ARGV[1])
