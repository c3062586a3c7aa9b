-- Claims that change nothing, which most are: all but one of the instances are here every time, so
-- this comes before all that the others need.
--
-- ARGV[5]  the id of this claim: a repetition, whose reply was lost, has the same
local due = tonumber(at)
if due > now then return { 'early', now } end
if raw then
    if state > CLAIMED then return { 'finished', now, raw } end
    -- the same claim again is answered as the first time, so that no reply that is lost makes an
    -- owner wait for itself
    if string.sub(raw, 68, 83) == ARGV[5] then return { 'claimed', now, raw } end
    if state == CLAIMED and lease_until > now then return { 'held', now, raw } end
end
