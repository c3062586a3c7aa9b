-- Replaces the secret and applies a patch.
--
-- ARGV[3]    the hash of the new secret
-- ARGV[4]    for how many microseconds the old one is still taken; '' for a change of privilege
-- ARGV[5]    'keep', 'clear' or 'set' the principal
-- ARGV[6]    the principal to set
-- ARGV[7]    until when the index counts on this; '' if no principal is set
-- ARGV[8..]  the patch
local got = redis.pcall('HMGET', key, '~', '~h', unpack(ARGV, 8, 7 + changes))
if got.err then return got end
local reply = look(got[1], got[2])
if reply and reply[1] ~= 'refused' then return reply end
if by == 'trusted' then return { 'refused' } end
-- an answer that got lost: the secret is fresh random, so only this rotation can have set it.
-- Written again, so that who waits for replicas waits for it.
if got[2] == ARGV[3] then return write() end
if reply then return reply end
if by == 'previous' and ARGV[4] ~= '' then return { 'superseded' } end
if ARGV[7] ~= '' and now > tonumber(ARGV[7]) then return { 'late' } end
local before = touched
if changes > 0 then
    version = version + 1
    local refused = plan(8, got, version)
    if refused then return refused end
end
set[last + 1], set[last + 2] = '~h', ARGV[3]
last = last + 2
unset = unset or {}
if ARGV[4] ~= '' then
    set[last + 1], set[last + 2] = '~p', got[2] .. struct.pack('>I8', now + ARGV[4])
    last = last + 2
else
    unset[#unset + 1] = '~p'
end
if ARGV[5] == 'set' then
    set[last + 1], set[last + 2] = '~u', ARGV[6]
    last = last + 2
elseif ARGV[5] == 'clear' then
    unset[#unset + 1] = '~u'
end
if now > touched then touched = now end
if not unset[1] then unset = nil end
return write(before)
