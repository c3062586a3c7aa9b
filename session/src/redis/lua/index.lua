-- Announces a session that is about to be a principal's; answers the time and how many there are.
--
-- KEYS[1]  the index
-- ARGV[1]  the session
-- ARGV[2]  how long any session lives at most, in microseconds
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wrote = redis.pcall('ZADD', KEYS[1], now, ARGV[1])
if type(wrote) == 'table' and wrote.err then return wrote end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
return { now, redis.call('ZCARD', KEYS[1]) }
