-- What the scripts that change a session begin with. The layout is described in mod.rs.
--
-- KEYS[1]     the session
-- ARGV[1]     the hash of the secret that was shown; '' for code of ours
-- ARGV[2..4]  the most bytes of a session, of a field, and the most fields
local key, shown = KEYS[1], ARGV[1]
local RECORD, SIZE = '>BI8I8I8I8I8I4I4', 49

local time = redis.call('TIME')
-- microseconds are exact in a Lua number until the year 2255
local now = time[1] * 1000000 + time[2]

local created, absolute, idle, touched, version, bytes, count

local function expires()
    return math.min(touched + idle, created + absolute)
end

-- Takes the record in; the reply that says why there is no session, if there is none.
local function absent(record)
    if not record then
        if redis.call('EXISTS', key) == 0 then return { 'gone' } end
        return { 'corrupt' }
    end
    local layout = string.byte(record)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #record ~= SIZE then return { 'corrupt' } end
    layout, created, absolute, idle, touched, version, bytes, count = struct.unpack(RECORD, record)
    if expires() <= now then return { 'gone' } end
end

-- By which secret the session is reached; nothing if it is not.
local function via(current, previous)
    if shown == '' then return 'trusted' end
    if shown == current then return 'current' end
    if previous and #previous == 40 and string.sub(previous, 1, 32) == shown
        and struct.unpack('>I8', previous, 33) > now then
        return 'previous'
    end
end

local set, unset = {}, {}

-- Writes what was planned, or nothing. HSET is what a full or failing server refuses, so it is
-- first; what follows is never refused.
local function write()
    set[#set + 1] = '~'
    set[#set + 1] =
        struct.pack(RECORD, 1, created, absolute, idle, touched, version, bytes, count)
    local wrote = redis.pcall('HSET', key, unpack(set))
    if type(wrote) == 'table' and wrote.err then return wrote end
    if #unset > 0 then redis.call('HDEL', key, unpack(unset)) end
    redis.call('PEXPIREAT', key, math.ceil(expires() / 1000))
end
