-- Ends a session; answers whose it was.
local got = redis.pcall('HMGET', key, '~', '~h', '~p', '~u')
if got.err then return got end
local reply = absent(got[1])
if reply then return reply end
if not via(got[2], got[3]) then return { 'refused' } end
redis.call('DEL', key)
return { 'done', got[4] }
