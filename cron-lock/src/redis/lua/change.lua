-- What the scripts that change the record of a tick go on with.
--
-- KEYS[2]  the order of the ticks
-- ARGV[2]  how long a record is kept after its last change
-- ARGV[3]  how much longer the longest lease may keep it
local order = KEYS[2]
local retention, longest = tonumber(ARGV[2]), tonumber(ARGV[3])
local HEAD, TAIL = '>BBBI8I8I8I8I8I8I8I4I4c16c16', 'I4c0I4c0I4c0I4c0I4c0I4c0'

local formers, fence, previous, first_claimed, claimed, attempt, crashes, claim, incarnation
local name, failure, jobs, schedules, known, former

-- Takes all of the record in; the reply that says why it cannot be read, if so.
local function complete()
    local read, layout, after
    read, layout, state, formers, fence, previous, first_claimed, claimed, lease_until, finished,
        kept, attempt, crashes, claim, incarnation, name, failure, jobs, schedules, known, former,
        after = pcall(struct.unpack, HEAD .. TAIL, raw)
    if not read or after ~= #raw + 1 then return { 'corrupt' } end
end

-- Writes the record, or nothing. HSET is what a full or failing server refuses, so it is first;
-- what follows is never refused.
local function write(is_new)
    raw = struct.pack(HEAD .. TAIL, 1, state, formers, fence, previous, first_claimed, claimed,
        lease_until, finished, kept, attempt, crashes, claim, incarnation, #name, name, #failure,
        failure, #jobs, jobs, #schedules, schedules, #known, known, #former, former)
    local wrote = redis.pcall('HSET', records, at, raw)
    if type(wrote) == 'table' then return wrote end
    -- no record is kept for longer; a namespace that nobody uses any more goes by itself
    local gone = math.ceil((now + longest + retention) / 1000)
    redis.call('PEXPIREAT', records, gone)
    if is_new then redis.call('ZADD', order, at, at) end
    redis.call('PEXPIREAT', order, gone)
end
