-- Ends a session; answers whose it was.
local got = redis.pcall('HMGET', key, '~', '~h', '~u')
if got.err then return got end
local reply = look(got[1], got[2])
if reply then return reply end
redis.call('DEL', key)
return { 'done', got[3] }
