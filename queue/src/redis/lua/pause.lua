-- Stops or goes on delivering.
--
-- KEYS  counters
-- ARGV  channel, 1 or 0
if ARGV[2] == '1' then
  return redis.call('HSET', KEYS[1], 'paused', '1')
end
redis.call('HDEL', KEYS[1], 'paused')
return redis.call('PUBLISH', ARGV[1], '')
