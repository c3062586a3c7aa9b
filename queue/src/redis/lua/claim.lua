-- Leases messages. Dies before: nothing is leased. Dies after: the leases run out, the messages
-- come back.
--
-- KEYS  all, in the order of `names`
-- ARGV  channel, max, lease (µs), token, worker, max_crashes, max_dead, keep_dead (µs), reason,
--       names of the letters that this receiver was told of before
-- Returns now, items, their envelopes, their last errors if any has one, names and letters of
--       who died, envelopes of what was dropped, ids of items without a message, when there is something
--       next (-1: nobody knows)
local call, sub, byte, format = redis.call, string.sub, string.byte, string.format
local counters, delayed, leases, bodies = KEYS[1], KEYS[6], KEYS[7], KEYS[8]
local max, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = read_time()
local state = call('HMGET', counters, 'paused', 'turn', 'untold')
local next_due = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
local next_end = call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
if state[1] then
  return { format('%.0f', now), {}, {}, {}, {}, {}, {}, '-1' }
end

local lib, letters = nil, {}
local function need_lib()
  if not lib then
    local limit = {
      max_crashes = tonumber(ARGV[6]), max_dead = tonumber(ARGV[7]),
      keep_dead = tonumber(ARGV[8]), crashed = ARGV[9],
    }
    local failure
    lib, failure = library(names(1), limit, ARGV[1], now)
    return failure
  end
end
if state[3] or (next_end and tonumber(next_end) <= now) or (next_due and tonumber(next_due) <= now) then
  local failure = need_lib()
  if failure then
    return failure
  end
  local again = now + 30000000
  if state[3] then
    if #ARGV > 9 then
      call('ZREM', KEYS[14], unpack(ARGV, 10))
    end
    local names = call('ZRANGEBYSCORE', KEYS[14], '-inf', format('%.0f', now), 'LIMIT', 0, 100)
    for _, name in ipairs(names) do
      local letter = call('HGET', KEYS[11], name)
      if letter then
        call('ZADD', KEYS[14], format('%.0f', again), name)
        letters[#letters + 1] = name
        letters[#letters + 1] = letter
      else
        call('ZREM', KEYS[14], name)
      end
    end
    if call('ZCARD', KEYS[14]) == 0 then
      call('HDEL', counters, 'untold')
    end
  end
  for _, entry in ipairs(lib.reclaim(100, again)) do
    letters[#letters + 1] = entry
  end
  lib.promote(100)
  next_due = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  next_end = call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
end

-- which lists the next items come from: of fifteen picks 8, 4, 2 and 1 go to the four priorities
local length, total, lists = {}, 0, 0
local only
for p = 1, 4 do
  length[p] = call('LLEN', KEYS[p + 1])
  total = total + length[p]
  if length[p] > 0 then
    lists = lists + 1
    only = p
  end
end
local items, takes = {}, {}
local turn
if max < 1 then
  lists = 0
end
if lists == 1 then
  items = call('LRANGE', KEYS[only + 1], 0, max - 1)
  takes[only] = #items
elseif lists > 1 then
  local turns = { 1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1 }
  turn = tonumber(state[2] or 0)
  local order = {}
  takes = { 0, 0, 0, 0 }
  for i = 1, math.min(max, total) do
    local p = turns[turn % 15 + 1]
    if takes[p] >= length[p] then
      p = 1
      while takes[p] >= length[p] do
        p = p + 1
      end
    end
    takes[p] = takes[p] + 1
    order[i] = p
    turn = turn + 1
  end
  local found, at = {}, { 0, 0, 0, 0 }
  for p = 1, 4 do
    if takes[p] > 0 then
      found[p] = call('LRANGE', KEYS[p + 1], 0, takes[p] - 1)
    end
  end
  for i, p in ipairs(order) do
    at[p] = at[p] + 1
    items[i] = found[p][at[p]]
  end
end

local count = #items
if count == 0 then
  local soonest = math.min(tonumber(next_due or math.huge), tonumber(next_end or math.huge))
  soonest = soonest == math.huge and '-1' or format('%.0f', soonest)
  return { format('%.0f', now), {}, {}, {}, letters, {}, {}, soonest }
end

local ids, odd, counted = {}, false, false
for i = 1, count do
  local item = items[i]
  local flags = byte(item, 1)
  ids[i] = sub(item, 2, 17)
  -- with a time to be dropped at, or of a layout that this version does not know
  if flags > 95 or flags < 64 or flags % 16 >= 8 then
    odd = true
  end
  if flags % 8 >= 4 then
    counted = true
  end
end
local envelopes = call('HMGET', bodies, unpack(ids))
for i = 1, count do
  if not envelopes[i] then
    odd = true
  end
end

local dropped, missing, later = {}, {}, {}
if odd then
  local failure = need_lib()
  if failure then
    return failure
  end
  local kept, kept_envelopes = {}, {}
  for i = 1, count do
    local item, flags = items[i], byte(items[i], 1)
    if flags > 95 or flags < 64 then
      later[#later + 1] = item
    else
      local parsed = lib.parse(item)
      if not envelopes[i] then
        missing[#missing + 1] = parsed
      elseif parsed.drop_at and struct.unpack('>I8', parsed.drop_at) <= now then
        dropped[#dropped + 1] = { parsed, envelopes[i] }
      else
        kept[#kept + 1] = item
        kept_envelopes[#kept_envelopes + 1] = envelopes[i]
      end
    end
  end
  items, envelopes = kept, kept_envelopes
end

local errors = {}
if counted and #items > 0 then
  ids = {}
  for i, item in ipairs(items) do
    ids[i] = sub(item, 2, 17)
  end
  errors = call('HMGET', KEYS[9], unpack(ids))
end

-- the first write makes room, so that `maxmemory` does not stop the draining
for p, taken in pairs(takes) do
  if taken > 0 then
    call('LTRIM', KEYS[p + 1], taken, -1)
  end
end
if turn then
  call('HSET', counters, 'turn', turn % 15)
end
local gone, lost = {}, {}
if odd then
  for i, entry in ipairs(dropped) do
    lib.remove(entry[1])
    gone[i] = entry[2]
  end
  if #gone > 0 then
    call('HINCRBY', counters, 'dropped', #gone)
  end
  for i, item in ipairs(missing) do
    lib.remove(item)
    lost[i] = item.id
  end
  for _, item in ipairs(later) do
    call('ZADD', delayed, format('%.0f', now + 60000000), item)
  end
end
if #items > 0 then
  local till = math.min(now + lease, 9007199254740991)
  local score = format('%.0f', till)
  local suffix = ARGV[4] .. struct.pack('>I8', now) .. ARGV[5]
  local add = {}
  for i = 1, #items do
    add[i * 2 - 1] = score
    add[i * 2] = items[i] .. suffix
  end
  call('ZADD', leases, unpack(add))
  -- those who wait have been told of a later end, or of none
  if not next_end or till < tonumber(next_end) then
    call('PUBLISH', ARGV[1], format('%.0f', till - now))
  end
end
return { format('%.0f', now), items, envelopes, errors, letters, gone, lost, '-1' }
