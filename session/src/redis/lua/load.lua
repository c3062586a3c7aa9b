-- A session and the time, read at one moment; who reads compares the secret and the deadlines.
--
-- KEYS[1]  the session
local all = redis.pcall('HGETALL', KEYS[1])
if all.err then return all end
return { redis.call('TIME'), all }
