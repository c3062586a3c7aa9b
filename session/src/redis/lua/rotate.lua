-- Replaces the secret and applies a patch.
--
-- ARGV[2]  the hash of the new secret
-- ARGV[3]  for how many microseconds the old one is still taken; '' for a change of privilege
-- ARGV[4]  'keep', 'clear' or 'set' the principal
-- ARGV[5]  the principal to set
-- ARGV[6]  until when the index counts on this; '' if no principal is set
local got = redis.pcall('HMGET', key, '~', '~h', unpack(ARGV, first, first + changes - 1))
if got.err then return got end
local reply, created, absolute, idle, touched, version, bytes, count, ends, by =
    look(got[1], got[2])
if reply and reply[1] ~= 'refused' then return reply end
if by == 'trusted' then return { 'refused' } end
if got[2] == ARGV[2] then
    -- an answer that got lost: the secret is fresh random, so only this rotation can have set it.
    -- Written again as it is, so that who waits for replicas waits for it.
    changes = 0
else
    if reply then return reply end
    if by == 'previous' and ARGV[3] ~= '' then return { 'superseded' } end
    if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then return { 'late' } end
    before = touched
    if changes > 0 then version = version + 1 end
    set[3], set[4], last = '~h', ARGV[2], 4
    if ARGV[3] ~= '' then
        set[5], set[6], last = '~p', got[2] .. struct.pack('>I8', now + ARGV[3]), 6
    else
        unset = { '~p' }
    end
    if ARGV[4] == 'set' then
        set[last + 1], set[last + 2] = '~u', ARGV[5]
        last = last + 2
    elseif ARGV[4] == 'clear' then
        unset = unset or {}
        unset[#unset + 1] = '~u'
    end
    if now > touched then touched = now end
end
