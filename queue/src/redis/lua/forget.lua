-- Deletes dead letters.
--
-- KEYS  dead, letters
-- ARGV  their names
-- Returns how many were there
redis.call('HDEL', KEYS[2], unpack(ARGV))
return redis.call('ZREM', KEYS[1], unpack(ARGV))
