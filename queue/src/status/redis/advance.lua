-- A step of a status, by the rule of rule.rs.
--
-- ARGV[3]       the state after the step
-- ARGV[4]       the kind of the job
-- ARGV[5..7]    run, attempt, delivery
-- ARGV[8..9]    how long an ended status is kept and one that has not ended, in milliseconds
-- ARGV[10..11]  the next attempt is due in so many seconds and microseconds; '' for at once
-- ARGV[12..]    what else the step says: names and values of fields
local state, rank = ARGV[3], RANK[ARGV[3]]
local run, delivery = tonumber(ARGV[5]), tonumber(ARGV[7])
local life = rank == 2 and ARGV[8] or ARGV[9]
local says = {}
for i = 12, #ARGV, 2 do says[ARGV[i]] = ARGV[i + 1] end

local new
if known then
    if stored.step == name then return unchanged(answer('applied', stored)) end
    local stored_run, stored_delivery = tonumber(stored.run), tonumber(stored.delivery)
    local stored_rank = RANK[stored.state]
    local later
    if run ~= stored_run then
        later = run > stored_run
    elseif stored_rank == 2 then
        later = false
    elseif delivery ~= stored_delivery then
        later = delivery > stored_delivery
    elseif rank ~= stored_rank then
        later = rank > stored_rank
    else
        later = state == 'running' and not less(says.done or stored.done, stored.done)
    end
    if not later then return unchanged(answer('refused', stored)) end
    new = copy(stored)
    if run ~= stored_run then
        new.checkpoint, new.error, new.detail, new.started, new.cancel = nil, nil, nil, nil, nil
    end
    if run ~= stored_run or delivery ~= stored_delivery then
        new.done, new.total, new.message = '0', nil, nil
    end
    -- exact: the version is checked to be below 2^53
    new.version = string.format('%.0f', stored.version + 1)
else
    -- The microsecond of the first step is above every version of an earlier life of the handle,
    -- which counted up from its own first one, and more slowly.
    new = { v = '1', kind = ARGV[4], created = now, done = '0', version = now }
end

new.step, new.state, new.updated = name, state, now
new.run, new.attempt, new.delivery = ARGV[5], ARGV[6], ARGV[7]
if says.done then new.done, new.total, new.message = says.done, says.total, says.message end
new.checkpoint = says.checkpoint or new.checkpoint
new.result = says.result
if says.error then new.error, new.detail = says.error, says.detail end
new.owner = says.owner or new.owner
if state == 'succeeded' then new.error, new.detail = nil, nil end
if state ~= 'queued' then new.started = new.started or now end
new.finished = rank == 2 and now or nil
new.retry = nil
if ARGV[10] ~= '' then
    local seconds, micros = time[1] + ARGV[10], time[2] + ARGV[11]
    if micros >= 1000000 then seconds, micros = seconds + 1, micros - 1000000 end
    -- the last second that a reader knows
    if seconds <= 8210266876799 then new.retry = string.format('%.0f%06d', seconds, micros) end
end
return store(new, life, answer('applied', new))
