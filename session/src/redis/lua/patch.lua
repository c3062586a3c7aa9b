-- Plans what a patch does to fields. `got`, after its first two elements, is what is stored under
-- their names. Preconditions come before types, and types before sizes, whatever the order of the
-- fields.
--
-- ARGV[first..]  The names of the fields, one after the other; then, for each, the operands of its
--                change: two for `C`, `M` and `A`, none for `R`, one for each other. Where the result
--                lives for a limited time, the letter is a small one, and before the operands comes
--                for how many microseconds, in digits.
--
-- 65 'A' append, 67 'C' compare and set, 68 'D' compare and remove, 73 'I' increment, 77 'M' members,
-- 80 'P' put if absent, 82 'R' remove, 83 'S' set
local wrong, large
local more_bytes, more_count = 0, 0
local next, letters = first + changes, #head - changes
for i = 1, changes do
    local name, op, old = ARGV[first + i - 1], string.byte(head, letters + i), got[i + 2]
    local a, span = ARGV[next], nil
    next = next + 1
    if op >= 97 then
        op, span, a = op - 32, a, ARGV[next]
        next = next + 1
    end
    -- what kind is there, where its payload begins, and until when it lives
    local kind, begin, deadline = 0, 1, nil
    if old then
        local tag = string.byte(old) or 0
        if tag >= 97 and #old >= 9 then
            kind, begin = tag, 10
        elseif tag >= 65 and tag <= 90 and #old >= 17 then
            kind, begin, deadline = tag + 32, 18, struct.unpack('>I8', old, 10)
        end
        bytes, count = bytes - #name - #old + begin - 1, count - 1
    end
    local live = old and not (deadline and deadline <= now)
    -- 98 'b' bytes, 99 'c' a counter, 108 'l' a list, 115 's' a set
    local value, tag = nil, 98
    if op == 83 then
        value, deadline = a, nil
    elseif op == 73 then
        tag = 99
        if live and (kind ~= 99 or #old - begin ~= 7) then
            wrong = wrong or { 'invalid', name, 'is no counter' }
        else
            -- two halves, because a Lua number holds 53 bits
            local high, low = struct.unpack('>i4I4', a)
            if live then
                local old_high, old_low = struct.unpack('>i4I4', old, begin)
                high, low = high + old_high, low + old_low
            end
            if low >= 4294967296 then high, low = high + 1, low - 4294967296 end
            if high < -2147483648 or high > 2147483647 then
                wrong = wrong or { 'invalid', name, 'would overflow' }
            else
                value = struct.pack('>i4I4', high, low)
            end
        end
    elseif op == 80 then
        if live then return { 'conflict', name, old } end
        value, deadline = a, nil
    elseif op == 82 then
        next = next - 1
    elseif op == 67 or op == 68 then
        local revision
        if live then revision = begin > 1 and struct.unpack('>I8', old, 2) or 0 end
        if tonumber(a) ~= revision then return { 'conflict', name, live and old or false } end
        if op == 67 then
            value, deadline = ARGV[next], nil
            next = next + 1
        end
    else
        local b = ARGV[next]
        next = next + 1
        tag = op == 77 and 115 or 108
        if live and kind ~= tag then
            wrong = wrong or { 'invalid', name, op == 77 and 'is no set' or 'is no list' }
        else
            -- the elements of a list or a set, each with its length before it
            local function elements(packed)
                local found, from = {}, 1
                while from <= #packed do
                    local after = from + 4 + struct.unpack('>I4', packed, from)
                    found[#found + 1] = string.sub(packed, from, after - 1)
                    from = after
                end
                return found
            end
            local payload = live and string.sub(old, begin) or ''
            if op == 77 then
                local out, all = {}, {}
                for _, member in ipairs(elements(b)) do out[member] = true end
                for _, member in ipairs(elements(a)) do
                    out[member] = true
                    all[#all + 1] = member
                end
                for _, member in ipairs(elements(payload)) do
                    if not out[member] then all[#all + 1] = member end
                end
                value = table.concat(all)
            else
                local all = elements(payload .. a)
                value = table.concat(all, '', math.max(1, #all - tonumber(b) + 1))
            end
            -- a set or a list without elements is none
            if value == '' then value = nil end
        end
    end
    if value then
        if #value > max_field then large = large or { 'large', name, #value } end
        if span then deadline = now + span elseif not live then deadline = nil end
        set[last + 1] = name
        if deadline then
            set[last + 2] = struct.pack('>BI8I8', tag - 32, version, deadline) .. value
        else
            set[last + 2] = struct.pack('>BI8', tag, version) .. value
        end
        last = last + 2
        more_bytes, more_count = more_bytes + #name + #value, more_count + 1
    elseif old then
        unset = unset or {}
        unset[#unset + 1] = name
    end
end
if wrong then return wrong end
if large then return large end
if changes > 0 and (count + more_count > max_count or bytes + more_bytes > max_bytes) then
    -- what has expired counts no longer: it goes now
    local named = {}
    for i = first, first + changes - 1 do named[ARGV[i]] = true end
    local all = redis.call('HGETALL', key)
    bytes, count = 0, 0
    for i = 1, #all, 2 do
        local name, old = all[i], all[i + 1]
        if string.byte(name) ~= 126 and not named[name] then
            local tag, prefix, deadline = string.byte(old) or 0, 0, nil
            if tag >= 97 and #old >= 9 then
                prefix = 9
            elseif tag >= 65 and tag <= 90 and #old >= 17 then
                prefix, deadline = 17, struct.unpack('>I8', old, 10)
            end
            if deadline and deadline <= now then
                unset = unset or {}
                unset[#unset + 1] = name
            else
                bytes, count = bytes + #name + #old - prefix, count + 1
            end
        end
    end
    if count + more_count > max_count then return { 'many', count + more_count } end
    if bytes + more_bytes > max_bytes then return { 'large', '', bytes + more_bytes } end
end
bytes, count = bytes + more_bytes, count + more_count
