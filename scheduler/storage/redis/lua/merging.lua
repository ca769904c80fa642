-- Merging several sources of jobs, each in order of acquisition, into one: a heap of the next job
-- of each. A job is {priority, s, us, id, is_aged}, its instant being seconds and microseconds.

local heap = {}

local function precedes(a, b)
  if a.is_aged ~= b.is_aged then return a.is_aged end
  if a.priority ~= b.priority and not a.is_aged then return a.priority < b.priority end
  if a.s ~= b.s then return a.s < b.s end
  if a.us ~= b.us then return a.us < b.us end
  for i = 1, math.min(#a.id, #b.id) do
    local x, y = string.byte(a.id, i), string.byte(b.id, i)
    if x ~= y then return x < y end
  end
  return #a.id < #b.id
end

local function enqueue(job)
  local at = #heap + 1
  local above = math.floor(at / 2)
  while above > 0 and precedes(job, heap[above]) do
    heap[at], at = heap[above], above
    above = math.floor(at / 2)
  end
  heap[at] = job
end

-- Takes out the first of all; there must be one.
local function dequeue()
  local job, last = heap[1], table.remove(heap)
  local size, at = #heap, 1
  while size > 0 do
    local below = 2 * at
    if below < size and precedes(heap[below + 1], heap[below]) then
      below = below + 1
    end
    if below > size or precedes(last, heap[below]) then
      heap[at] = last
      break
    end
    heap[at], at = heap[below], below
  end
  return job
end
