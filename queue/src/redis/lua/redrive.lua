-- Sends dead letters again, as the next run. A letter leaves the dead in the step that queues it.
--
-- KEYS  all
-- ARGV  channel, max_len (0: none), then for each: the name of the letter, the envelope to queue
-- Returns one digit per entry: 1 sent, 0 kept, 2 not there any more
local call = redis.call
local now, key = read_time(), names(1)
local lib, failure = library(key, {}, ARGV[1], now)
if failure then
  return failure
end
local out, max_len = {}, tonumber(ARGV[2])
for at = 3, #ARGV, 2 do
  local name, envelope = ARGV[at], ARGV[at + 1]
  local letter = call('HGET', key.letters, name)
  if not letter then
    out[#out + 1] = '2'
  else
    local old = lib.parse(string.sub(letter, 11))
    local full = max_len > 0 and call('HLEN', key.bodies) >= max_len
    if full or call('HEXISTS', key.bodies, old.id) == 1 then
      out[#out + 1] = '0'
    else
      out[#out + 1] = '1'
      call('HDEL', key.letters, name)
      call('ZREM', key.dead, name)
      call('HSET', key.bodies, old.id, envelope)
      local text = lib.text({ priority = old.priority, id = old.id, group = old.group,
        first_due = struct.pack('>I8', now), failures = 0, uncounted = 0, crashes = 0 })
      if old.group and call('HSETNX', key.busy, old.group, '1') == 0 then
        local number = call('HINCRBY', key.counters, 'seq', 1)
        local place = struct.pack('>I2', #old.group) .. old.group .. struct.pack('>I8', number) ..
          string.rep('\0', 27)
        call('ZADD', key.groups, 0, place .. text)
      else
        lib.place(text, old.priority, 0)
      end
    end
  end
end
return table.concat(out)
