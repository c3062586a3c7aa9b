-- What the scripts on one tick begin with. The layout is described in mod.rs.
--
-- KEYS[1]  the records
-- KEYS[2]  the order of the ticks
-- ARGV[1]  when the tick was due
-- ARGV[2]  how long a record is kept after its last change
-- ARGV[3]  how much longer the longest lease may keep it
local records, order, at = KEYS[1], KEYS[2], ARGV[1]
local retention, longest = tonumber(ARGV[2]), tonumber(ARGV[3])
local HEAD, TAIL, BEHIND = '>BBBI8I8I8I8I8I8I8I4I4c16c16', '>I4c0I4c0I4c0I4c0I4c0I4c0', 100
local ABANDONED, CLAIMED, DONE, EXHAUSTED, FAILED = 1, 2, 3, 4, 5

local time = redis.call('TIME')
-- microseconds are exact in a Lua number until the year 2255
local now = time[1] * 1000000 + time[2]

local raw
local state, formers, fence, previous, first_claimed, claimed, lease_until, finished, kept
local attempt, crashes, claim, incarnation
local name, failure, jobs, schedules, known, former

-- Takes the head of the record in, if there is one that counts; the reply that says why it cannot
-- be read, if so.
local function find()
    raw = redis.pcall('HGET', records, at)
    if not raw then return end
    if type(raw) == 'table' then return raw end
    local layout = string.byte(raw)
    if layout and layout > 1 then return { 'newer', layout } end
    if layout ~= 1 or #raw < BEHIND then return { 'corrupt' } end
    layout, state, formers, fence, previous, first_claimed, claimed, lease_until, finished, kept,
        attempt, crashes, claim, incarnation = struct.unpack(HEAD, raw)
    if state < ABANDONED or state > FAILED then return { 'corrupt' } end
    if kept <= now then raw = nil end
end

-- Takes in the rest of the record, which only changes need.
local function complete()
    local read, after
    read, name, failure, jobs, schedules, known, former, after =
        pcall(struct.unpack, TAIL, raw, BEHIND)
    if not read or after ~= #raw + 1 then return { 'corrupt' } end
end

-- Writes the record, or nothing. HSET is what a full or failing server refuses, so it is first;
-- what follows is never refused.
local function write(is_new)
    raw = struct.pack(HEAD, 1, state, formers, fence, previous, first_claimed, claimed, lease_until,
        finished, kept, attempt, crashes, claim, incarnation)
        .. struct.pack(TAIL, #name, name, #failure, failure, #jobs, jobs, #schedules, schedules,
            #known, known, #former, former)
    local wrote = redis.pcall('HSET', records, at, raw)
    if type(wrote) == 'table' then return wrote end
    -- no record is kept for longer; a namespace that nobody uses any more goes by itself
    local gone = math.ceil((now + longest + retention) / 1000)
    redis.call('PEXPIREAT', records, gone)
    if is_new then redis.call('ZADD', order, at, at) end
    redis.call('PEXPIREAT', order, gone)
end
