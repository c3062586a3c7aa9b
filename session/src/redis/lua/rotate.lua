-- Replaces the secret and applies a patch.
--
-- ARGV[5]     the hash of the new secret
-- ARGV[6]     for how many microseconds the old one is still taken; '' for a change of privilege
-- ARGV[7]     'keep', 'clear' or 'set' the principal
-- ARGV[8]     the principal to set
-- ARGV[9]     until when the index counts on this; '' if no principal is set
-- ARGV[10..]  the changes
local names = {}
for i = 10, #ARGV, 5 do names[#names + 1] = ARGV[i] end
local got = redis.pcall('HMGET', key, '~', '~h', '~p', unpack(names))
if got.err then return got end
local reply = absent(got[1])
if reply then return reply end
if shown == '' then return { 'refused' } end
-- an answer that got lost: the secret is fresh random, so only this rotation can have set it.
-- Written again, so that who waits for replicas waits for it.
if got[2] == ARGV[5] then return write() or { 'done', version, expires() } end
local by = via(got[2], got[3])
if not by then return { 'refused' } end
if by == 'previous' and ARGV[6] ~= '' then return { 'superseded' } end
if ARGV[9] ~= '' and now > tonumber(ARGV[9]) then return { 'late' } end
if #names > 0 then
    version = version + 1
    local refused = plan(10, got, 3, version)
    if refused then return refused end
end
set[#set + 1] = '~h'
set[#set + 1] = ARGV[5]
if ARGV[6] ~= '' then
    set[#set + 1] = '~p'
    set[#set + 1] = got[2] .. struct.pack('>I8', now + ARGV[6])
else
    unset[#unset + 1] = '~p'
end
if ARGV[7] == 'set' then
    set[#set + 1] = '~u'
    set[#set + 1] = ARGV[8]
elseif ARGV[7] == 'clear' then
    unset[#unset + 1] = '~u'
end
touched = math.max(touched, now)
return write() or { 'done', version, expires() }
