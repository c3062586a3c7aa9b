-- What operators see, as of now: what is due is ready, what ran out is back or dead.
--
-- KEYS  all
-- ARGV  channel, what (stats, peek, leased, dead, last), max_crashes, max_dead, keep_dead (µs), reason,
--       limit, for dead letters the number to begin at
local call = redis.call
local now, key = read_time(), names(1)
local lib, failure = library(key, { max_crashes = tonumber(ARGV[3]), max_dead = tonumber(ARGV[4]),
  keep_dead = tonumber(ARGV[5]), crashed = ARGV[6] }, ARGV[1], now)
if failure then
  return failure
end
lib.settle_time()
local what, limit = ARGV[2], tonumber(ARGV[7])

if what == 'stats' then
  local ready, oldest = call('ZCARD', key.groups), nil
  for p = 0, 3 do
    local list = key['r' .. p]
    ready = ready + call('LLEN', list)
    local first = call('LINDEX', list, 0)
    if first then
      oldest = math.min(lib.parse(first).due, oldest or math.huge)
    end
  end
  local counters = call('HMGET', key.counters, 'dropped', 'evicted', 'paused')
  return { ready, call('ZCARD', key.leases), call('ZCARD', key.delayed), call('ZCARD', key.dead),
    tonumber(counters[1] or 0), tonumber(counters[2] or 0), counters[3] and 1 or 0,
    oldest and math.max(now - oldest, 0) or -1 }
end

local function headers(envelope)
  return string.sub(envelope, 1, string.find(envelope, '\n', 1, true))
end
local shown = {}
if what == 'peek' then
  for p = 0, 3 do
    if #shown < limit then
      for _, text in ipairs(call('LRANGE', key['r' .. p], 0, limit - #shown - 1)) do
        local envelope = call('HGET', key.bodies, lib.parse(text).id)
        if envelope then
          shown[#shown + 1] = envelope
        end
      end
    end
  end
elseif what == 'leased' then
  for _, lease in ipairs(call('ZRANGE', key.leases, 0, limit - 1)) do
    local envelope = call('HGET', key.bodies, lib.parse(lease).id)
    if envelope then
      shown[#shown + 1] = lease
      shown[#shown + 1] = headers(envelope)
    end
  end
elseif what == 'last' then
  return call('ZRANGE', key.dead, -1, -1)
else
  local found = call('ZRANGEBYSCORE', key.dead, ARGV[8], '+inf', 'LIMIT', 0, limit)
  for _, name in ipairs(found) do
    local letter = call('HGET', key.letters, name)
    if letter then
      shown[#shown + 1] = name
      shown[#shown + 1] = letter
    end
  end
  return { found, shown }
end
return shown
