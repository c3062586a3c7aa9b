-- Makes leases end later, or sooner. Repeated, it extends again.
--
-- KEYS  leases
-- ARGV  channel, lease (µs), the leases
-- Returns one digit per entry: 1 extended, 0 stale
local call = redis.call
local leases, now = KEYS[1], read_time()
local till = math.min(now + ARGV[2], 9007199254740991)
local score = string.format('%.0f', till)
local ends = call('ZMSCORE', leases, unpack(ARGV, 3))
local head = call('ZRANGE', leases, 0, 0, 'WITHSCORES')
local out, add = {}, {}
for i = 1, #ARGV - 2 do
  if ends[i] and tonumber(ends[i]) > now then
    out[i] = '1'
    add[#add + 1] = score
    add[#add + 1] = ARGV[i + 2]
  else
    out[i] = '0'
  end
end
if #add > 0 then
  call('ZADD', leases, 'XX', unpack(add))
  if till < tonumber(head[2]) then
    call('PUBLISH', ARGV[1], string.format('%.0f', till - now))
  end
end
return table.concat(out)
