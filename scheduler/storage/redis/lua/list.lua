-- A page of jobs, newest id first. ARGV: how many, below which id ("": from the newest, else "=" and
-- it), and a status, a name and a schedule ("": any, else "=" and it). Walks the index of the filter
-- that the fewest jobs pass.

local limit = tonumber(ARGV[1])
local wanted = {}
local key, prefix, fewest = IDS, "", nil

local function filter(index, field, value)
  if value ~= "" then
    local start = sub(value, 2) .. END
    local count = call("ZLEXCOUNT", index, "[" .. start, "(" .. start .. END)
    wanted[field] = sub(value, 2)
    if not fewest or count < fewest then
      key, prefix, fewest = index, start, count
    end
  end
end

filter(STATUSES, "status", ARGV[3])
filter(NAMES, "name", ARGV[4])
filter(OWNED, "schedule", ARGV[5])

local function passes(text)
  local state = parsed(text)
  for field, value in pairs(wanted) do
    if state[field] ~= value then
      return false
    end
  end
  return true
end

local ids = {}
local high = "(" .. prefix .. (ARGV[2] ~= "" and sub(ARGV[2], 2) or END)
while #ids < limit do
  local size = math.min(limit - #ids, CHUNK)
  local members = call("ZRANGE", key, high, "[" .. prefix, "BYLEX", "REV", "LIMIT", 0, size)
  if #members == 0 then
    break
  end
  high = "(" .. members[#members]
  local found = {}
  for i, member in ipairs(members) do
    found[i] = sub(member, #prefix + 1)
  end
  for i, text in ipairs(values_of(STATES, found)) do
    if passes(text) then
      ids[#ids + 1] = found[i]
    end
  end
end
return jobs(ids)
