-- What the scripts on one tick begin with: the record, and the time. The layout is described in
-- mod.rs.
--
-- KEYS[1]  the records
-- ARGV[1]  when the tick was due
local records, at = KEYS[1], ARGV[1]
local SHORTEST = 123
local ABANDONED, CLAIMED, DONE, EXHAUSTED, FAILED = 1, 2, 3, 4, 5

local time = redis.call('TIME')
-- microseconds are exact in a Lua number until the year 2255
local now = time[1] * 1000000 + time[2]

local state, lease_until, finished, kept
local raw = redis.pcall('HGET', records, at)
if raw then
    if type(raw) == 'table' then return raw end
    local layout
    layout, state = string.byte(raw, 1, 2)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #raw < SHORTEST or state < ABANDONED or state > FAILED then
        return { 'corrupt' }
    end
    lease_until, finished, kept = struct.unpack('>I8I8I8', raw, 36)
    if kept <= now then raw = false end
end
