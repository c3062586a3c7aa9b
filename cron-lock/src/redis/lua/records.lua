-- Reads records in the order of their ticks.
--
-- KEYS[1..2]  the records, and the order of the ticks
-- ARGV[1..2]  the bounds of when they were due
-- ARGV[3]     how many to look at
local ticks = redis.pcall('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if ticks.err then return ticks end
local raw = {}
if #ticks > 0 then
    raw = redis.pcall('HMGET', KEYS[1], unpack(ticks))
    if raw.err then return raw end
end
return { redis.call('TIME'), ticks, raw }
