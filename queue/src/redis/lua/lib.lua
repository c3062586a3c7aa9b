-- What the slower paths share; made only when a script needs it. `key` names the keys, `limit`
-- holds max_crashes, max_dead and keep_dead (µs).
local function library(key, limit, channel, now)
  local call, sub, byte = redis.call, string.sub, string.byte
  local lib = {}

  -- a key of another type at one of our names is met before anything is written
  local kinds = {
    counters = 'hash', delayed = 'zset', leases = 'zset', bodies = 'hash', errors = 'hash',
    dead = 'zset', letters = 'hash', groups = 'zset', busy = 'hash', untold = 'zset',
    r0 = 'list', r1 = 'list', r2 = 'list', r3 = 'list',
  }
  for name, kind in pairs(kinds) do
    local found = call('TYPE', key[name])['ok']
    if found ~= kind and found ~= 'none' then
      return nil, redis.error_reply('STANDFAST CONFLICT a ' .. found .. ' is at the key ' ..
        key[name] .. ', where this queue keeps a ' .. kind)
    end
  end

  -- an item apart; what follows it in a lease is no part of it
  function lib.parse(text)
    local flags = byte(text, 1)
    local item = { priority = flags % 4, id = sub(text, 2, 17), first_due = sub(text, 18, 25),
      failures = 0, uncounted = 0, crashes = 0 }
    item.due = struct.unpack('>I8', item.first_due)
    local at = 26
    if flags % 8 >= 4 then
      item.failures, item.uncounted, item.crashes, item.due = struct.unpack('>I4I4I4I8', text, at)
      item.counted = true
      at = at + 20
    end
    if flags % 16 >= 8 then
      item.drop_at = sub(text, at, at + 7)
      at = at + 8
    end
    if flags % 32 >= 16 then
      local length = byte(text, at) + 1
      item.group = sub(text, at + 1, at + length)
      at = at + 1 + length
    end
    item.length = at - 1
    return item
  end

  function lib.text(item)
    local flags, counts, drop, group = 64 + item.priority, '', '', ''
    if item.failures + item.uncounted + item.crashes > 0 then
      flags = flags + 4
      counts = struct.pack('>I4I4I4I8', item.failures, item.uncounted, item.crashes, item.due)
    end
    if item.drop_at then
      flags = flags + 8
      drop = item.drop_at
    end
    if item.group then
      flags = flags + 16
      group = string.char(#item.group - 1) .. item.group
    end
    return string.char(flags) .. item.id .. item.first_due .. counts .. drop .. group
  end

  function lib.wake(due)
    call('PUBLISH', channel, due and string.format('%.0f', due - now) or '')
  end

  -- puts an item where it can be delivered, now or when it is due. What is delayed is padded: a
  -- set of up to 128 members of at most 64 bytes is a list, 7 times as slow
  function lib.place(text, priority, due, front)
    if due > now then
      local head = call('ZRANGE', key.delayed, 0, 0, 'WITHSCORES')
      call('ZADD', key.delayed, string.format('%.0f', due), text .. string.rep('\0', 65 - #text))
      if not head[2] or due < tonumber(head[2]) then
        lib.wake(due)
      end
    elseif call(front and 'LPUSH' or 'RPUSH', key['r' .. priority], text) == 1 then
      lib.wake()
    end
  end

  -- the next of each group may be delivered, or the group is forgotten
  function lib.next_of(groups)
    local idle, gone, lists = {}, {}, {}
    for _, group in ipairs(groups) do
      local prefix = struct.pack('>I2', #group) .. group
      local found = call('ZRANGEBYLEX', key.groups, '[' .. prefix, '[' .. prefix .. '\255', 'LIMIT', '0', '1')[1]
      if not found then
        idle[#idle + 1] = group
      else
        gone[#gone + 1] = found
        local text = sub(found, #prefix + 36)
        local due = struct.unpack('>I8', text, 18)
        local p = byte(text, 1) % 4
        if due > now or byte(text, 1) % 8 >= 4 then
          lib.place(text, p, lib.parse(text).due)
        else
          lists[p] = lists[p] or {}
          table.insert(lists[p], text)
        end
      end
    end
    if #idle > 0 then
      call('HDEL', key.busy, unpack(idle))
    end
    if #gone > 0 then
      call('ZREM', key.groups, unpack(gone))
    end
    for p, list in pairs(lists) do
      if call('RPUSH', key['r' .. p], unpack(list)) == #list then
        lib.wake()
      end
    end
  end

  -- a message leaves the queue
  function lib.remove(item)
    call('HDEL', key.bodies, item.id)
    if item.counted then
      call('HDEL', key.errors, item.id)
    end
    if item.group then
      lib.next_of({ item.group })
    end
  end

  function lib.forget_old()
    local over = call('ZCARD', key.dead) - limit.max_dead
    local gone = over > 0 and call('ZRANGE', key.dead, 0, over - 1) or {}
    local oldest = call('ZRANGE', key.dead, #gone, #gone + 99)
    for _, name in ipairs(oldest) do
      if string.match(name, '^%d+') + limit.keep_dead >= now then
        break
      end
      gone[#gone + 1] = name
    end
    for at = 1, #gone, 1000 do
      local last = math.min(at + 999, #gone)
      call('ZREM', key.dead, unpack(gone, at, last))
      call('HDEL', key.letters, unpack(gone, at, last))
    end
    if #gone > 0 then
      call('HINCRBY', key.counters, 'evicted', #gone)
    end
  end

  -- moves a message to the dead letters, and answers with the name of its letter, and the letter
  function lib.bury(item, reason)
    local envelope = call('HGET', key.bodies, item.id) or ''
    local failure = item.counted and call('HGET', key.errors, item.id)
    local text = lib.text(item)
    local letter = struct.pack('>I8I2', now, #text) .. text .. struct.pack('>I4', #reason) .. reason
    if failure then
      letter = letter .. '1' .. struct.pack('>I4', #failure) .. failure
    else
      letter = letter .. '0'
    end
    letter = letter .. envelope
    local number = call('HINCRBY', key.counters, 'seq', 1)
    local name = string.format('%.0f:%.0f', now, number)
    call('HSET', key.letters, name, letter)
    call('ZADD', key.dead, number, name)
    lib.remove(item)
    lib.forget_old()
    return name, letter
  end

  -- takes back leases that ran out, at most `most`: to the front of their list, since they have
  -- waited for a lease already, or to the dead letters. Who is told of those has until `tell_at`;
  -- then somebody else is told too. Answers with names and letters.
  function lib.reclaim(most, tell_at)
    local over = call('ZRANGEBYSCORE', key.leases, '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
    local letters = {}
    if #over > 0 then
      call('ZREM', key.leases, unpack(over))
      for i = #over, 1, -1 do
        local item = lib.parse(over[i])
        item.crashes = item.crashes + 1
        if item.crashes >= limit.max_crashes then
          local name, letter = lib.bury(item, limit.crashed)
          call('ZADD', key.untold, string.format('%.0f', tell_at), name)
          letters[#letters + 1] = name
          letters[#letters + 1] = letter
        else
          lib.place(lib.text(item), item.priority, 0, true)
        end
      end
      if #letters > 0 then
        call('HSET', key.counters, 'untold', '1')
      end
    end
    return letters
  end

  -- makes ready what is due, at most `most`: behind what is ready, or before it where all of that
  -- has come due later
  function lib.promote(most)
    local due = call('ZRANGEBYSCORE', key.delayed, '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
    if #due == 0 then
      return 0
    end
    call('ZREM', key.delayed, unpack(due))
    local ends = {}
    for _, text in ipairs(due) do
      local item = lib.parse(text)
      local list = ends[item.priority]
      if not list then
        local head = call('LINDEX', key['r' .. item.priority], 0)
        list = { oldest = head and lib.parse(head).due or math.huge, front = {}, back = {} }
        ends[item.priority] = list
      end
      table.insert(item.due < list.oldest and list.front or list.back, sub(text, 1, item.length))
    end
    for p, list in pairs(ends) do
      for i = #list.front, 1, -1 do
        call('LPUSH', key['r' .. p], list.front[i])
      end
      if #list.back > 0 then
        call('RPUSH', key['r' .. p], unpack(list.back))
      end
      if list.oldest == math.huge then
        lib.wake()
      end
    end
    return #due
  end

  -- brings the queue up to now for those who look; the deaths are told by the next receive
  function lib.settle_time()
    for _ = 1, 100 do
      lib.reclaim(1000, now)
      local head = call('ZRANGE', key.leases, 0, 0, 'WITHSCORES')
      if lib.promote(1000) < 1000 and not (head[2] and tonumber(head[2]) <= now) then
        break
      end
    end
    lib.forget_old()
  end

  return lib
end

-- the names of the keys, of which all are given from `first` on, always in this order
local function names(first)
  local key = {}
  local parts = { 'counters', 'r0', 'r1', 'r2', 'r3', 'delayed', 'leases', 'bodies', 'errors', 'dead',
    'letters', 'groups', 'busy', 'untold' }
  for i, part in ipairs(parts) do
    key[part] = KEYS[first + i - 1]
  end
  return key
end

-- now by the clock of this server, in µs: exact in a number until the year 2255; and as text
local function read_time()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2], time[1] .. string.sub('00000' .. time[2], -6)
end
