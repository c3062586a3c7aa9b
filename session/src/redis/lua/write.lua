-- Writes what was planned, or nothing; the reply to that. HSET is what a full or failing server
-- refuses, so it is first; what follows is never refused.
--
-- The key outlives the session by a sixteenth of the idle time, so a touch within the same
-- sixteenth as the last one need not renew its time to live.
set[2] = struct.pack(
    '>BI8I8I8I8I8I4I4', 1, created, absolute, idle, touched, version, bytes, count
)
local wrote = redis.pcall('HSET', key, unpack(set, 1, last))
if type(wrote) == 'table' then return wrote end
if unset then redis.call('HDEL', key, unpack(unset)) end
ends = touched + idle
local limit, span = created + absolute, idle / 16
if not before or before - before % span ~= touched - touched % span then
    redis.call('PEXPIREAT', key, math.ceil(math.min(ends + span, limit) / 1000))
end
if ends > limit then ends = limit end
return struct.pack('>I8I8B', version, ends, 1)
