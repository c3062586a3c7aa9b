-- A session and the time, read at one moment; who reads compares the secret and the deadlines.
--
-- KEYS[1]  the session
local all = redis.pcall('HGETALL', KEYS[1])
if all.err then return all end
-- in the same list, because a list in a list costs the server as much as five elements
local time, count = redis.call('TIME'), #all
all[count + 1], all[count + 2] = time[1], time[2]
return all
