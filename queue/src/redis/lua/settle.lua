-- Settles deliveries. A lease is held by who can name it: its member of the set was drawn for one
-- delivery. Dies before: the lease runs out. Dies after: it is settled, and a repeated settlement
-- is refused, whatever became of the message since.
--
-- KEYS  leases, bodies; with other entries than acks, or acks of messages that have failed or are
--       in groups: leases, bodies and then all
-- ARGV  count of acks, their leases, their ids; then, with all keys, channel, max_dead, keep_dead,
--       and for each other entry: lease, what (r, R, d), delay (µs), text
-- Returns one digit per entry: 1 settled, 0 stale
local call = redis.call
local leases, bodies, count = KEYS[1], KEYS[2], tonumber(ARGV[1])
local now, now_text = read_time()
local at, lib = count * 2 + 2, nil
if #KEYS > 2 then
  local failure
  lib, failure = library(names(3), { max_dead = tonumber(ARGV[at + 1]),
    keep_dead = tonumber(ARGV[at + 2]) }, ARGV[at], now)
  if failure then
    return failure
  end
end
-- while no lease has run out, a member is held whenever it ends. GEOHASH says which are members as
-- ZMSCORE does, but does not turn each score into text, which takes longer than all the rest
local is_late = call('ZCOUNT', leases, '-inf', now_text) > 0
local out, held = '', {}
if count > 0 then
  local found = call(is_late and 'ZMSCORE' or 'GEOHASH', leases, unpack(ARGV, 2, count + 1))
  local all = true
  for i = 1, count do
    if not found[i] or (is_late and tonumber(found[i]) <= now) then
      all = false
      break
    end
  end
  if all then
    call('HDEL', bodies, unpack(ARGV, count + 2, count * 2 + 1))
    call('ZREM', leases, unpack(ARGV, 2, count + 1))
    out = string.rep('1', count)
    if lib then
      held = { unpack(ARGV, 2, count + 1) }
    end
  else
    local ids, digits = {}, {}
    for i = 1, count do
      digits[i] = '0'
      if found[i] and not (is_late and tonumber(found[i]) <= now) then
        digits[i] = '1'
        held[#held + 1] = ARGV[i + 1]
        ids[#ids + 1] = ARGV[count + i + 1]
      end
    end
    if #held > 0 then
      call('HDEL', bodies, unpack(ids))
      call('ZREM', leases, unpack(held))
    end
    out = table.concat(digits)
  end
end
if not lib then
  return out
end

local errors, groups = {}, {}
for _, lease in ipairs(held) do
  local flags = string.byte(lease, 1)
  if flags % 8 >= 4 then
    errors[#errors + 1] = string.sub(lease, 2, 17)
  end
  if flags % 32 >= 16 then
    groups[#groups + 1] = lib.parse(lease).group
  end
end
if #errors > 0 then
  call('HDEL', KEYS[11], unpack(errors))
end
if #groups > 0 then
  lib.next_of(groups)
end
out = { out }
for entry = at + 3, #ARGV, 4 do
  local lease, what = ARGV[entry], ARGV[entry + 1]
  local till = call('ZSCORE', leases, lease)
  if not till or tonumber(till) <= now then
    out[#out + 1] = '0'
  else
    out[#out + 1] = '1'
    call('ZREM', leases, lease)
    local item = lib.parse(lease)
    if what == 'd' then
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
