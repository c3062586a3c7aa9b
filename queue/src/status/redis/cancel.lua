-- A request to cancel, by the rule of rule.rs.
--
-- ARGV[3]  how long a status that ends by it is kept, in milliseconds
if not known then return { 'unknown' } end
if stored.step == name then
    return unchanged({ stored.state == 'cancelled' and 'cancelled' or 'requested' })
end
if RANK[stored.state] == 2 then return unchanged({ 'finished' }) end
local new = copy(stored)
local waits = stored.state == 'queued'
if waits then
    new.state, new.finished, new.retry = 'cancelled', now, nil
elseif stored.cancel then
    return unchanged({ 'requested' })
end
new.step, new.cancel, new.updated = name, '1', now
new.version = string.format('%.0f', stored.version + 1)
-- one that runs keeps the life that its last step gave it
return store(new, waits and ARGV[3], { waits and 'cancelled' or 'requested' })
