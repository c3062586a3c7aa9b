-- Makes the lease of a tick end later, for who holds it.
--
-- ARGV[4]  the fence, as eight bytes: it need not fit a Lua number
-- ARGV[5]  the lease
local reply = find()
if reply then return reply end
if not raw then return { 'missing' } end
if string.sub(raw, 4, 11) ~= ARGV[4] or state ~= CLAIMED then return { 'fenced', raw } end
if lease_until <= now then return { 'lapsed' } end
reply = complete()
if reply then return reply end
lease_until = math.max(lease_until, now + tonumber(ARGV[5]))
kept = lease_until + retention
return write() or { 'extended', lease_until }
