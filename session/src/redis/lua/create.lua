-- Creates a session.
--
-- ARGV[2..3]  idle and absolute timeout in microseconds
-- ARGV[4]     the principal; '' for nobody
-- ARGV[5]     until when the index counts on this; '' if there is no principal
-- ARGV[6]     '1' for a repetition, which finds its own session
local got = redis.pcall('HMGET', key, '~', '~h')
if got.err then return got end
local reply, created, absolute, idle, touched, version, bytes, count, ends = look(got[1], got[2])
if not reply or reply[1] == 'refused' then
    if ARGV[6] == '1' and got[2] == shown and version == 1 then
        return struct.pack('>I8I8B', version, ends, 0)
    end
    return { 'exists' }
end
if reply[1] ~= 'gone' then return reply end
if ARGV[5] ~= '' and now > tonumber(ARGV[5]) then return { 'late' } end
-- one that has ended by its record, and not yet by its time to live
if got[1] then redis.call('DEL', key) end
got = {}
created, touched, version, bytes, count = now, now, 1, 0, 0
idle, absolute = tonumber(ARGV[2]), tonumber(ARGV[3])
set[3], set[4], last = '~h', shown, 4
if ARGV[4] ~= '' then set[5], set[6], last = '~u', ARGV[4], 6 end
