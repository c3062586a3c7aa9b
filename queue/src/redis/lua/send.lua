-- Stores messages. Dies before: nothing is stored. There is no between: a script is one step.
-- Dies after: all are stored and the sender, who does not know, repeats the same ids.
--
-- KEYS  bodies, ready 0..3, counters; with special entries also: delayed, groups, busy, and the
--       dedupe keys
-- ARGV  channel, max_len (0: none), 1 if replicas are waited for, how many plain entries, their
--       flags as one string, then id and envelope of each; then nine for each special entry:
--       id, envelope, flags, delay, drop_after, group, number of its dedupe key in KEYS (0: none),
--       window in ms, id and handle to remember
-- Returns how many, when all were stored; otherwise one answer per entry: 1 stored, 0 full,
--       {what the same dedupe key remembers} or {headers of the same id}, 1 as second element
local call, sub, byte = redis.call, string.sub, string.byte
local bodies, channel, count, flags = KEYS[1], ARGV[1], tonumber(ARGV[4]), ARGV[5]
local ids, entries = {}, {}
for i = 1, count do
  ids[i] = ARGV[i * 2 + 4]
end
local special = {}
for at = count * 2 + 6, #ARGV, 9 do
  special[#special + 1] = at
  ids[#ids + 1] = ARGV[at]
end

-- everything is read, so that a key of another type is met, before anything is written
local stored = call('HMGET', bodies, unpack(ids))
local room = math.huge
if ARGV[2] ~= '0' then
  room = ARGV[2] - call('HLEN', bodies)
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local due_now = struct.pack('>I8', now)

local taken, answers, lists = 0, {}, {}
local function ready(item)
  local p = byte(item, 1) % 4 + 1
  local list = lists[p]
  if not list then
    list = {}
    lists[p] = list
  end
  list[#list + 1] = item
end
local function same_id(envelope)
  return { sub(envelope, 1, string.find(envelope, '\n', 1, true)), 1 }
end

local clean = room >= count
for i = 1, count do
  if stored[i] then
    clean = false
    break
  end
end
local write = {}
if clean then
  local first = sub(flags, 1, 1)
  if count > 0 and flags == string.rep(first, count) then
    local list = {}
    for i = 1, count do
      list[i] = first .. ids[i] .. due_now
    end
    lists[byte(first) % 4 + 1] = list
  else
    for i = 1, count do
      ready(sub(flags, i, i) .. ids[i] .. due_now)
    end
  end
  taken = count
else
  for i = 1, count do
    if stored[i] then
      answers[i] = same_id(stored[i])
    elseif room <= taken then
      answers[i] = 0
    else
      answers[i] = 1
      taken = taken + 1
      write[#write + 1] = ids[i]
      write[#write + 1] = ARGV[i * 2 + 5]
      ready(sub(flags, i, i) .. ids[i] .. due_now)
    end
  end
end

local delayed, waiting, busy, keys = {}, {}, {}, {}
local soonest
if #special > 0 then
  local now_busy, groups, named = {}, {}, {}
  for _, at in ipairs(special) do
    if ARGV[at + 5] ~= '' then
      groups[#groups + 1] = ARGV[at + 5]
    end
    if ARGV[at + 6] ~= '0' then
      named[#named + 1] = KEYS[tonumber(ARGV[at + 6])]
    end
  end
  if #groups > 0 then
    local found = call('HMGET', KEYS[9], unpack(groups))
    for i, group in ipairs(groups) do
      now_busy[group] = found[i]
    end
    call('ZCARD', KEYS[8])
    call('HLEN', KEYS[6])
  end
  local remembered = {}
  if #named > 0 then
    local found = call('MGET', unpack(named))
    for i, key in ipairs(named) do
      remembered[key] = found[i]
    end
  end
  call('ZCARD', KEYS[7])
  for i, at in ipairs(special) do
    local n = count + i
    local key = ARGV[at + 6] ~= '0' and KEYS[tonumber(ARGV[at + 6])]
    if stored[n] then
      answers[n] = same_id(stored[n])
    elseif key and remembered[key] then
      answers[n] = { remembered[key] }
    elseif room <= taken then
      answers[n] = 0
    else
      answers[n] = 1
      taken = taken + 1
      write[#write + 1] = ids[n]
      write[#write + 1] = ARGV[at + 1]
      if key then
        remembered[key] = ARGV[at + 8]
        keys[#keys + 1] = { key, ARGV[at + 8], ARGV[at + 7] }
      end
      local due, item = now, ARGV[at + 2] .. ids[n]
      if ARGV[at + 3] == '0' then
        item = item .. due_now
      else
        due = math.min(now + ARGV[at + 3], 9007199254740991)
        item = item .. struct.pack('>I8', due)
      end
      if ARGV[at + 4] ~= '' then
        item = item .. struct.pack('>I8', math.min(now + ARGV[at + 4], 9007199254740991))
      end
      local group = ARGV[at + 5]
      local first = true
      if group ~= '' then
        item = item .. string.char(#group - 1) .. group
        first = not now_busy[group]
        now_busy[group] = true
      end
      if not first then
        waiting[#waiting + 1] = { group, item }
      else
        if group ~= '' then
          busy[#busy + 1] = group
          busy[#busy + 1] = '1'
        end
        if due > now then
          delayed[#delayed + 1] = string.format('%.0f', due)
          delayed[#delayed + 1] = item .. string.rep('\0', 65 - #item)
          soonest = math.min(soonest or due, due)
        else
          ready(item)
        end
      end
    end
  end
end

if taken == 0 then
  -- WAIT counts from the last write of its connection; what is here already has to be there too
  if ARGV[3] == '1' then
    call('HINCRBY', KEYS[6], 'seq', 0)
  end
  return answers
end
local wake = false
for p in pairs(lists) do
  wake = call('LLEN', KEYS[p + 1]) == 0 or wake
end
local head = soonest and call('ZRANGE', KEYS[7], '0', '0', 'WITHSCORES')[2]
-- the first write is one that `maxmemory` refuses: either all is stored or nothing
if clean and count > 0 then
  call('HSET', bodies, unpack(ARGV, 6, count * 2 + 5))
end
if #write > 0 then
  call('HSET', bodies, unpack(write))
end
for p, list in pairs(lists) do
  call('RPUSH', KEYS[p + 1], unpack(list))
end
if #special > 0 then
  for _, key in ipairs(keys) do
    call('SET', key[1], key[2], 'PX', key[3])
  end
  if #busy > 0 then
    call('HSET', KEYS[9], unpack(busy))
  end
  if #waiting > 0 then
    local last = call('HINCRBY', KEYS[6], 'seq', #waiting) - #waiting
    local add = {}
    for i, entry in ipairs(waiting) do
      local group, item = entry[1], entry[2]
      local place = struct.pack('>I2', #group) .. group .. struct.pack('>I8', last + i)
      add[i * 2 - 1] = '0'
      add[i * 2] = place .. string.rep('\0', 27) .. item
    end
    call('ZADD', KEYS[8], unpack(add))
  end
  if soonest then
    call('ZADD', KEYS[7], unpack(delayed))
    if not wake and (not head or soonest < tonumber(head)) then
      call('PUBLISH', channel, string.format('%.0f', soonest - now))
    end
  end
end
if wake then
  call('PUBLISH', channel, '')
end
if taken == #ids then
  return taken
end
if clean then
  for i = 1, count do
    answers[i] = 1
  end
end
return answers
