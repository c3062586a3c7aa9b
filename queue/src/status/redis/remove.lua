-- Forgets a status, readable or not, unless a newer library or somebody else wrote it.
--
-- KEYS[1]  the status, and the channel that tells of its changes
local key = KEYS[1]
local version = redis.pcall('HGET', key, 'v')
if type(version) == 'table' then return version end -- a key of another type
if not version then
    if redis.call('EXISTS', key) == 0 then return { 'unknown' } end
    return { 'corrupt', 'v' }
end
if version ~= '1' then
    return { version:find('^[1-9]%d*$') and 'newer' or 'corrupt', version }
end
local told = redis.pcall('PUBLISH', key, 'gone')
if type(told) == 'table' and told.err then return told end
local removed = redis.pcall('DEL', key)
if type(removed) == 'table' and removed.err then return removed end
return { 'removed' }
