-- Makes the keys those of version ARGV[1]: where nobody has claimed them, and where they are of
-- version 1, whose texts are read as they are, and which did not know what runs under which key.

local stored = call("GET", SCHEMA)
if stored == "1" then
  local prefix, running = "processing" .. END, {}
  for _, member in ipairs(range(STATUSES, "[" .. prefix, "(" .. prefix .. END)) do
    local id = sub(member, #prefix + 1)
    running[#running + 1] = 0
    running[#running + 1] = in_running(id, state_of(id))
  end
  each_chunk("ZADD", RUNNING, running)
end
if not stored or stored == "1" then
  call("SET", SCHEMA, ARGV[1])
end
return 1
