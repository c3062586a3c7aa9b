-- What the list of somebody's sessions shows of one of them, and the time.
--
-- KEYS[1]  the session
local got = redis.pcall('HMGET', KEYS[1], '~', '~u')
if got.err then return got end
return { redis.call('TIME'), got[1], got[2], redis.call('EXISTS', KEYS[1]) }
