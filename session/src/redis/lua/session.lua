-- What the scripts that change a session begin with. The layout is described in mod.rs. Every
-- function here is made anew by every call, which costs about as much as a tenth of a command, so
-- there are few, and what is rare is inside of what needs it.
--
-- KEYS[1]  the session
-- ARGV[1]  the hash of the secret that was shown; '' for code of ours
local key, shown = KEYS[1], ARGV[1]

local time = redis.call('TIME')
-- microseconds are exact in a Lua number until the year 2255
local now = time[1] * 1000000 + time[2]

-- the record; when the session ends, and by which secret it is reached
local created, absolute, idle, touched, version, bytes, count, ends, by

-- Takes in the record and the hash of the secret that counts. The reply that says why the session
-- is not reached, if it is not.
local function look(record, current)
    if not record then
        if redis.call('EXISTS', key) == 0 then return { 'gone' } end
        return { 'corrupt' }
    end
    local layout = string.byte(record)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #record ~= 49 then return { 'corrupt' } end
    layout, created, absolute, idle, touched, version, bytes, count =
        struct.unpack('>BI8I8I8I8I8I4I4', record)
    ends = touched + idle
    if ends > created + absolute then ends = created + absolute end
    if ends <= now then return { 'gone' } end
    if shown == current then
        by = 'current'
    elseif shown == '' then
        by = 'trusted'
    else
        local previous = redis.call('HGET', key, '~p')
        if not previous or #previous ~= 40 or string.sub(previous, 1, 32) ~= shown
            or struct.unpack('>I8', previous, 33) <= now then
            return { 'refused' }
        end
        by = 'previous'
    end
end

-- what is to be written, the record first, as far as `last`, and what is to be removed
local set, unset, last = { '~', false, false, false }, nil, 2

-- Writes what was planned, or nothing; the reply to that. HSET is what a full or failing server refuses, so it is
-- first; what follows is never refused. `before` is when the last touch was until now.
--
-- The key outlives the session by a sixteenth of the idle time, so a touch within the same
-- sixteenth as the last one need not renew its time to live.
local function write(before)
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
end
