-- Creates a session.
--
-- ARGV[3..4]  idle and absolute timeout in microseconds
-- ARGV[5]     the principal; '' for nobody
-- ARGV[6]     until when the index counts on this; '' if there is no principal
-- ARGV[7]     '1' for a repetition, which finds its own session
-- ARGV[8..]   the patch
local got = redis.pcall('HMGET', key, '~', '~h')
if got.err then return got end
local reply = look(got[1], got[2])
if not reply or reply[1] == 'refused' then
    if ARGV[7] == '1' and got[2] == shown and version == 1 then
        return struct.pack('>I8I8B', version, ends, 0)
    end
    return { 'exists' }
end
if reply[1] ~= 'gone' then return reply end
if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then return { 'late' } end
created, touched, version, bytes, count = now, now, 1, 0, 0
idle, absolute = tonumber(ARGV[3]), tonumber(ARGV[4])
local refused = plan(8, {}, version)
if refused then return refused end
set[last + 1], set[last + 2] = '~h', shown
last = last + 2
if ARGV[5] ~= '' then
    set[last + 1], set[last + 2] = '~u', ARGV[5]
    last = last + 2
end
-- one that has ended by its record, and not yet by its time to live
if got[1] then redis.call('DEL', key) end
return write()
