-- A status and for how many milliseconds it will be there, for those who wait for its next version.
--
-- KEYS[1]  the status
local flat = redis.pcall('HGETALL', KEYS[1])
if flat.err then return flat end -- a key of another type
return { redis.call('PTTL', KEYS[1]), flat }
