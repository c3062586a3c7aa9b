-- Settles deliveries. A lease is held by who can name it: its member of the set was drawn for one
-- delivery. Dies before: the lease runs out. Dies after: it is settled, and a repeated settlement
-- is refused, whatever became of the message since.
--
-- KEYS  leases, bodies; with other entries than plain acks: leases, bodies and then all
-- ARGV  count of plain acks, their leases, their ids; then channel, max_dead, keep_dead, and for
--       each other entry: lease, what (a, r, R, d), delay (µs), text
-- Returns one digit per entry: 1 settled, 0 stale
local call = redis.call
local leases, bodies, count = KEYS[1], KEYS[2], tonumber(ARGV[1])
local now = read_time()
local head = call('ZRANGE', leases, 0, 0, 'WITHSCORES')
local out = {}
if count > 0 then
  local ends = call('ZMSCORE', leases, unpack(ARGV, 2, count + 1))
  local late = head[2] and tonumber(head[2]) <= now
  local all = true
  for i = 1, count do
    if not ends[i] or (late and tonumber(ends[i]) <= now) then
      all = false
      out[i] = '0'
    else
      out[i] = '1'
    end
  end
  if all then
    call('HDEL', bodies, unpack(ARGV, count + 2, count * 2 + 1))
    call('ZREM', leases, unpack(ARGV, 2, count + 1))
  else
    local held, ids = {}, {}
    for i = 1, count do
      if out[i] == '1' then
        held[#held + 1] = ARGV[i + 1]
        ids[#ids + 1] = ARGV[count + i + 1]
      end
    end
    if #held > 0 then
      call('HDEL', bodies, unpack(ids))
      call('ZREM', leases, unpack(held))
    end
  end
end
if #ARGV <= count * 2 + 1 then
  return table.concat(out)
end

local at = count * 2 + 2
local lib, failure = library(names(3), { max_dead = tonumber(ARGV[at + 1]),
  keep_dead = tonumber(ARGV[at + 2]) }, ARGV[at], now)
if failure then
  return failure
end
for entry = at + 3, #ARGV, 4 do
  local lease, what = ARGV[entry], ARGV[entry + 1]
  local till = call('ZSCORE', leases, lease)
  if not till or tonumber(till) <= now then
    out[#out + 1] = '0'
  else
    out[#out + 1] = '1'
    call('ZREM', leases, lease)
    local item = lib.parse(lease)
    if what == 'a' then
      lib.remove(item)
    elseif what == 'd' then
      item.failures = item.failures + 1
      lib.bury(item, ARGV[entry + 3])
    else
      if what == 'R' then
        item.failures = item.failures + 1
      else
        item.uncounted = item.uncounted + 1
      end
      if ARGV[entry + 3] ~= '' then
        call('HSET', KEYS[11], item.id, ARGV[entry + 3])
      end
      item.due = math.min(now + ARGV[entry + 2], 9007199254740991)
      lib.place(lib.text(item), item.priority, item.due)
    end
  end
end
return table.concat(out)
