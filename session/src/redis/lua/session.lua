-- What the scripts that change a session begin with. The layout is described in mod.rs. They are
-- put together from parts that share local variables, because every function is made anew by every
-- call, and so is each variable that it shares: together that was a fifth of a commit.
--
-- KEYS[1]  the session
-- ARGV[1]  four numbers of 4 bytes: the most bytes of a session, of a field, the most fields, and
--          of how many changes the patch is. Then the hash of the secret that was shown, nothing for
--          code of ours. Then a letter for each change. In one, because every argument costs as much
--          as a fifth of a command; and numbers in digits cost more: Lua has to read them.
local key, head = KEYS[1], ARGV[1]
local max_bytes, max_field, max_count, changes = struct.unpack('>I4I4I4I4', head)
local shown = string.sub(head, 17, -1 - changes)

local time = redis.call('TIME')
-- microseconds are exact in a Lua number until the year 2255
local now = time[1] * 1000000 + time[2]

-- Takes apart the record, given the hash of the secret that counts. Answers first the reply that
-- says why the session is not reached, if it is not; then the record, when the session ends, and by
-- which secret it is reached.
local function look(record, current)
    if not record then
        if redis.call('EXISTS', key) == 0 then return { 'gone' } end
        return { 'corrupt' }
    end
    local layout = string.byte(record)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #record ~= 49 then return { 'corrupt' } end
    local created, absolute, idle, touched, version, bytes, count =
        struct.unpack('>I8I8I8I8I8I4I4', record, 2)
    local ends, reply, by = touched + idle, nil, 'current'
    if ends > created + absolute then ends = created + absolute end
    if ends <= now then return { 'gone' } end
    if shown == '' then
        by = 'trusted'
    elseif shown ~= current then
        local previous = redis.call('HGET', key, '~p')
        by = 'previous'
        if not previous or #previous ~= 40 or string.sub(previous, 1, 32) ~= shown
            or struct.unpack('>I8', previous, 33) <= now then
            reply = { 'refused' }
        end
    end
    return reply, created, absolute, idle, touched, version, bytes, count, ends, by
end

-- what is to be written, the record first, as far as `last`, and what is to be removed; when the
-- last touch was until now, if there was one
local set, unset, last, before = { '~', false, false, false }, nil, 2, nil
