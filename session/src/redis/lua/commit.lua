-- Applies a patch and touches; without changes, touches if that is due.
--
-- ARGV[5..]  the changes
local names = {}
for i = 5, #ARGV, 5 do names[#names + 1] = ARGV[i] end
local got = redis.pcall('HMGET', key, '~', '~h', '~p', unpack(names))
if got.err then return got end
local reply = absent(got[1])
if reply then return reply end
local by = via(got[2], got[3])
if not by then return { 'refused' } end
local due = #names > 0
if due then
    version = version + 1
    local refused = plan(5, got, 3, version)
    if refused then return refused end
else
    due = by ~= 'trusted'
        and now - touched >= math.min(math.max(idle / 10, 30000000), idle / 2)
    if not due then return { 'done', version, expires(), 0 } end
end
-- the clock may have gone back; the time of the touch does not
if by ~= 'trusted' then touched = math.max(touched, now) end
return write() or { 'done', version, expires(), 1 }
