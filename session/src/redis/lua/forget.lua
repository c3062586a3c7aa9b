-- Takes entries off an index whose sessions were found to be no longer the principal's, unless they
-- were announced again since, or so lately that what they announce may still come.
--
-- KEYS[1]  the index
-- ARGV[1]  how old an entry must be, in microseconds
-- ARGV[2..]  sessions and when each was announced
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gone = 0
for i = 2, #ARGV, 2 do
    local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if at and tonumber(at) == tonumber(ARGV[i + 1]) and now - at >= tonumber(ARGV[1]) then
        gone = gone + redis.call('ZREM', KEYS[1], ARGV[i])
    end
end
return gone
