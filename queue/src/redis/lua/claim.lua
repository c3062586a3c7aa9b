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
local now, now_text = read_time()
local state = call('HMGET', counters, 'paused', 'untold')
local is_due = call('ZCOUNT', delayed, '-inf', now_text) > 0
local is_late = call('ZCOUNT', leases, '-inf', now_text) > 0
if state[1] then
  return { now_text, {}, {}, {}, {}, {}, {}, '-1' }
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
if state[2] or is_late or is_due then
  local failure = need_lib()
  if failure then
    return failure
  end
  local again = now + 30000000
  if state[2] then
    if #ARGV > 9 then
      call('ZREM', KEYS[14], unpack(ARGV, 10))
    end
    local names = call('ZRANGEBYSCORE', KEYS[14], '-inf', now_text, 'LIMIT', '0', '100')
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
end

-- what is taken is put back where something turns out to be of another type
local items, takes, turn = {}, {}, nil
local function put_back(failure)
  for p, taken in pairs(takes) do
    for i = #taken, 1, -1 do
      call('LPUSH', KEYS[p + 1], taken[i])
    end
  end
  return failure
end
-- which lists the next items come from: most queues use one priority
if ARGV[2] ~= '0' then
  if call('EXISTS', KEYS[2], KEYS[3], KEYS[5]) == 0 then
    items = call('LPOP', KEYS[4], ARGV[2]) or {}
    takes[3] = items
  else
    -- of fifteen picks 8, 4, 2 and 1 go to the four priorities
    local max, length, total = tonumber(ARGV[2]), {}, 0
    for p = 1, 4 do
      length[p] = call('LLEN', KEYS[p + 1])
      total = total + length[p]
    end
    local turns = { 1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1 }
    turn = tonumber(call('HGET', counters, 'turn') or 0)
    local order, count = {}, { 0, 0, 0, 0 }
    for i = 1, math.min(max, total) do
      local p = turns[turn % 15 + 1]
      if count[p] >= length[p] then
        p = 1
        while count[p] >= length[p] do
          p = p + 1
        end
      end
      count[p] = count[p] + 1
      order[i] = p
      turn = turn + 1
    end
    local at = { 0, 0, 0, 0 }
    for p = 1, 4 do
      if count[p] > 0 then
        takes[p] = call('LPOP', KEYS[p + 1], count[p])
      end
    end
    for i, p in ipairs(order) do
      at[p] = at[p] + 1
      items[i] = takes[p][at[p]]
    end
  end
end

local count = #items
if count == 0 then
  local next_due = call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2]
  local next_end = call('ZRANGE', leases, '0', '0', 'WITHSCORES')[2]
  local soonest = math.min(tonumber(next_due or math.huge), tonumber(next_end or math.huge))
  soonest = soonest == math.huge and '-1' or format('%.0f', soonest)
  return { now_text, {}, {}, {}, letters, {}, {}, soonest }
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
local envelopes = redis.pcall('HMGET', bodies, unpack(ids))
if envelopes.err then
  return put_back(envelopes)
end
for i = 1, count do
  if not envelopes[i] then
    odd = true
  end
end

local dropped, missing, later = {}, {}, {}
if odd then
  local failure = need_lib()
  if failure then
    return put_back(failure)
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
  errors = redis.pcall('HMGET', KEYS[9], unpack(ids))
  if errors.err then
    return put_back(errors)
  end
end

if turn then
  call('HSET', counters, 'turn', format('%.0f', turn % 15))
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
  local till = math.min(now + ARGV[3], 9007199254740991)
  local score = format('%.0f', till)
  local is_first = call('ZCOUNT', leases, '-inf', score) == 0
  local suffix = ARGV[4] .. struct.pack('>I8', now) .. ARGV[5]
  local add, at = {}, 1
  for i = 1, #items do
    add[at] = score
    add[at + 1] = items[i] .. suffix
    at = at + 2
  end
  call('ZADD', leases, unpack(add))
  -- those who wait have been told of a later end, or of none
  if is_first then
    call('PUBLISH', ARGV[1], format('%.0f', till - now))
  end
end
return { now_text, items, envelopes, errors, letters, gone, lost, '-1' }
