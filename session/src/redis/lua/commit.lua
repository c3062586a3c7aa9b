-- Applies a patch and touches; without changes, touches if that is due.
local got = redis.pcall('HMGET', key, '~', '~h', unpack(ARGV, first, first + changes - 1))
if got.err then return got end
local reply, created, absolute, idle, touched, version, bytes, count, ends, by =
    look(got[1], got[2])
if reply then return reply end
before = touched
if changes > 0 then
    version = version + 1
elseif by == 'trusted' or now - touched < math.min(math.max(idle / 10, 30000000), idle / 2) then
    return struct.pack('>I8I8B', version, ends, 0)
end
-- the clock may have gone back; the time of the touch does not
if by ~= 'trusted' and now > touched then touched = now end
