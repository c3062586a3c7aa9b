-- What every script of the status store begins with: reads the status, refuses what is none, and
-- knows how to write one. The fields are described in mod.rs.
--
-- KEYS[1]  the status, and the channel that tells of its changes
-- ARGV[1]  names this step: a repetition of it changes nothing and is answered as the first time
-- ARGV[2]  '1' if the answer is to be replicated
local key, name, replicated = KEYS[1], ARGV[1], ARGV[2] == '1'
local RANK = { queued = 0, running = 1, cancelled = 2, failed = 2, succeeded = 2 }

-- the numbers are decimals of up to 64 bits: they are compared as text, since a Lua number holds 53
local U32, U53, U64 = '4294967295', '9007199254740991', '18446744073709551615'
local TIME = '8210266876799999999'
local REQUIRED = {
    run = U32, attempt = U32, delivery = U32, done = U64,
    created = TIME, updated = TIME, version = U53,
}
local OPTIONAL = { total = U64, started = TIME, finished = TIME, retry = TIME }

local function less(a, b)
    if #a ~= #b then return #a < #b end
    return a < b
end

local function is_number(value, most)
    return (value == '0' or value:find('^[1-9]%d*$')) and not less(most, value)
end

-- what is wrong with a status, as the reply that says so
local function fault(status)
    local version = status.v
    if not version then return { 'corrupt', 'v' } end
    if version ~= '1' then
        if version ~= '0' and is_number(version, U64) then return { 'newer', version } end
        return { 'corrupt', 'v' }
    end
    if not RANK[status.state] then return { 'corrupt', 'state' } end
    if not status.kind then return { 'corrupt', 'kind' } end
    for field, most in pairs(REQUIRED) do
        if not (status[field] and is_number(status[field], most)) then return { 'corrupt', field } end
    end
    for field, most in pairs(OPTIONAL) do
        if status[field] and not is_number(status[field], most) then return { 'corrupt', field } end
    end
    if status.owner and not (#status.owner == 32 and status.owner:find('^[0-9a-f]+$')) then
        return { 'corrupt', 'owner' }
    end
end

local flat = redis.pcall('HGETALL', key)
if flat.err then return flat end -- a key of another type
local stored, known = {}, #flat > 0
for i = 1, #flat, 2 do stored[flat[i]] = flat[i + 1] end
if known then
    local wrong = fault(stored)
    if wrong then return wrong end
end

local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])

local function answer(outcome, status)
    local reply = { outcome }
    for field, value in pairs(status) do
        reply[#reply + 1] = field
        reply[#reply + 1] = value
    end
    return reply
end

-- The answer is what is stored already. Since Redis 7.2, WAIT counts from the last write of its
-- connection: without one it would wait for nothing, and what was answered might be on the primary
-- alone.
local function unchanged(reply)
    if replicated and known then
        local wrote = redis.pcall('HSET', key, 'v', stored.v)
        if type(wrote) == 'table' and wrote.err then return wrote end
    end
    return reply
end

-- Makes the status what `new` says and wakes who waits for it; the reply on success is `reply`.
--
-- What may be refused comes first: PUBLISH by an ACL, HSET for want of memory, on a replica or by a
-- failing disk. A wake-up for nothing is harmless, half a change would not be.
local function store(new, life, reply)
    local set, unset = {}, {}
    for field, value in pairs(new) do
        if stored[field] ~= value then
            set[#set + 1] = field
            set[#set + 1] = value
        end
    end
    for field in pairs(stored) do
        if new[field] == nil then unset[#unset + 1] = field end
    end
    local told = redis.pcall('PUBLISH', key, new.version)
    if type(told) == 'table' and told.err then return told end
    local wrote = redis.pcall('HSET', key, unpack(set))
    if type(wrote) == 'table' and wrote.err then return wrote end
    if #unset > 0 then redis.call('HDEL', key, unpack(unset)) end
    if life then redis.call('PEXPIRE', key, life) end
    return reply
end

local function copy(status)
    local new = {}
    for field, value in pairs(status) do new[field] = value end
    return new
end

