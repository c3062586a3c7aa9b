-- Creates a session.
--
-- ARGV[5..6]  idle and absolute timeout in microseconds
-- ARGV[7]     the principal; '' for nobody
-- ARGV[8]     until when the index counts on this; '' if there is no principal
-- ARGV[9]     '1' for a repetition, which finds its own session
-- ARGV[10..]  the changes
local got = redis.pcall('HMGET', key, '~', '~h')
if got.err then return got end
local reply = absent(got[1])
if not reply then
    if ARGV[9] == '1' and got[2] == shown and version == 1 then
        return { 'done', version, expires() }
    end
    return { 'exists' }
end
if reply[1] ~= 'gone' then return reply end
if ARGV[8] ~= '' and now > tonumber(ARGV[8]) then return { 'late' } end
created, touched, version, bytes, count = now, now, 1, 0, 0
idle, absolute = tonumber(ARGV[5]), tonumber(ARGV[6])
local refused = plan(10, {}, 0, version)
if refused then return refused end
set[#set + 1] = '~h'
set[#set + 1] = shown
if ARGV[7] ~= '' then
    set[#set + 1] = '~u'
    set[#set + 1] = ARGV[7]
end
-- one that has ended by its record, and not yet by its time to live
if got[1] then redis.call('DEL', key) end
return write() or { 'done', version, expires() }
