-- Records how a tick ended, for who was the last to be given it.
--
-- ARGV[4]  the fence, as eight bytes: it need not fit a Lua number
-- ARGV[5]  how: the state that follows
-- ARGV[6]  why it failed
-- ARGV[7]  the jobs that were dispatched, 16 bytes each
local reply = find()
if reply then return reply end
if not raw then return { 'missing' } end
local target = tonumber(ARGV[5])
local is_owner = string.sub(raw, 4, 11) == ARGV[4]
if is_owner and state == target then return { 'settled' } end
if not is_owner or state ~= CLAIMED then return { 'fenced', raw } end
reply = complete()
if reply then return reply end
state, failure, jobs = target, ARGV[6], ARGV[7]
if target == ABANDONED then lease_until = math.min(lease_until, now) else finished = now end
kept = now + retention
return write() or { 'settled' }
