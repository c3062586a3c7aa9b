-- Deletes all messages but the dead. Returns how many.
--
-- KEYS  all
local key = names(1)
local count = redis.call('HLEN', key.bodies)
redis.call('UNLINK', key.r0, key.r1, key.r2, key.r3, key.delayed, key.leases, key.bodies, key.errors,
  key.groups, key.busy)
return count
