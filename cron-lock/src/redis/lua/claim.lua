-- Claims a tick.
--
-- KEYS[3]     the cursor
-- ARGV[4]     the lease
-- ARGV[5]     the id of this claim: a repetition, whose reply was lost, has the same
-- ARGV[6..7]  the incarnation and the name of who claims
-- ARGV[8]     the schedules it will evaluate, sorted, with commas between
-- ARGV[9]     how late a tick may be
-- ARGV[10]    how many owners may let their lease run out
local lease, due = tonumber(ARGV[4]), tonumber(at)
if due > now then return { 'early', now } end
local reply = find()
if reply then return reply end
-- the same claim again is answered as the first time, so that no reply that is lost makes an owner
-- wait for itself
if raw and claim == ARGV[5] and state <= CLAIMED then return { 'claimed', now, raw } end
if raw and state == CLAIMED and lease_until > now then return { 'held', now, raw } end
if raw and state > CLAIMED then return { 'finished', now, raw } end

local cursor = redis.pcall('GET', KEYS[3])
if type(cursor) == 'table' then return cursor end
local moved, last_fence, evaluated
if cursor then
    local layout = string.byte(cursor)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #cursor < 17 then return { 'corrupt' } end
    layout, moved, last_fence = struct.unpack('>BI8I8', cursor)
    evaluated = string.sub(cursor, 18)
end
-- nothing is written before the types of all keys are known
local old = redis.pcall('ZRANGEBYSCORE', order, '-inf', now - retention, 'LIMIT', 0, 32)
if old.err then return old end

local function move(to, names)
    redis.call('SET', KEYS[3], struct.pack('>BI8I8', 1, to, fence) .. names)
end

-- What either set has, sorted.
local function union(one, other)
    if one == other then return one end
    local has, all = {}, {}
    for name in string.gmatch(one .. ',' .. other, '[^,]+') do
        if not has[name] then
            has[name] = true
            all[#all + 1] = name
        end
    end
    table.sort(all)
    return table.concat(all, ',')
end

local function grant()
    claim, incarnation, name = ARGV[5], ARGV[6], ARGV[7]
    claimed, lease_until = now, now + lease
    kept = lease_until + retention
    state = CLAIMED
end

local late = now - due > tonumber(ARGV[9])
if raw then
    if state == CLAIMED and crashes + 1 >= tonumber(ARGV[10]) then
        reply = complete()
        if reply then return reply end
        crashes, state, finished, kept = crashes + 1, EXHAUSTED, now, now + retention
        return write() or { 'finished', now, raw }
    end
    if late then return { 'old', now, moved or false } end
    reply = complete()
    if reply then return reply end
    -- takeover: `previous`, `known` and the place of the cursor stay
    if state == CLAIMED then crashes = crashes + 1 end
    former = former .. struct.pack('>I8I8I8c16Bc0', fence, claimed, lease_until, incarnation,
        #name, name)
    formers = formers + 1
    if formers > 10 then
        formers = formers - 1
        former = string.sub(former, 42 + string.byte(former, 41))
    end
    fence = math.max(now, fence + 1, (last_fence or 0) + 1)
    attempt, schedules = attempt + 1, union(schedules, ARGV[8])
    grant()
    reply = write()
    if reply then return reply end
    if cursor then move(moved, moved == due and union(evaluated, ARGV[8]) or evaluated) end
    return { 'claimed', now, raw }
end

if late or (moved and due <= moved) then return { 'old', now, moved or false } end
local lapsed = {}
if #old > 0 then
    local values = redis.call('HMGET', records, unpack(old))
    for i, value in ipairs(values) do
        if not value or (string.byte(value) == 1 and #value >= BEHIND
            and struct.unpack('>I8', value, 52) <= now) then
            lapsed[#lapsed + 1] = old[i]
        end
    end
end
fence = math.max(now, (last_fence or 0) + 1)
previous, known, schedules = moved or 0, evaluated or '', ARGV[8]
formers, first_claimed, finished, attempt, crashes = 0, now, 0, 1, 0
failure, jobs, former = '', '', ''
grant()
reply = write(true)
if reply then return reply end
move(due, ARGV[8])
if #lapsed > 0 then
    redis.call('HDEL', records, unpack(lapsed))
    redis.call('ZREM', order, unpack(lapsed))
end
return { 'claimed', now, raw }
