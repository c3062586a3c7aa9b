-- What a patch does to fields. Of each change there are five arguments: the name, the operation,
-- its two operands, and for how many microseconds the result lives, '' for no such limit.
local BYTES, COUNTER, LIST, SET = 98, 99, 108, 115

-- kind, revision, deadline and payload of a stored field
local function open(raw)
    local kind = string.byte(raw) or 0
    if kind >= 97 and #raw >= 9 then
        return kind, struct.unpack('>I8', raw, 2), nil, string.sub(raw, 10)
    elseif kind >= 65 and kind <= 90 and #raw >= 17 then
        local revision, deadline = struct.unpack('>I8I8', raw, 2)
        return kind + 32, revision, deadline, string.sub(raw, 18)
    end
    return 0, 0, nil, raw
end

-- the elements of a list or a set, each with its length before it
local function elements(packed)
    local found, at = {}, 1
    while at <= #packed do
        local after = at + 4 + struct.unpack('>I4', packed, at)
        found[#found + 1] = string.sub(packed, at, after - 1)
        at = after
    end
    return found
end

local function members(old, add, remove)
    local out, all = {}, {}
    for _, member in ipairs(elements(remove)) do out[member] = true end
    for _, member in ipairs(elements(add)) do
        out[member] = true
        all[#all + 1] = member
    end
    for _, member in ipairs(elements(old)) do
        if not out[member] then all[#all + 1] = member end
    end
    return table.concat(all)
end

local function appended(old, values, keep)
    local all = elements(old .. values)
    return table.concat(all, '', math.max(1, #all - keep + 1))
end

-- Plans the changes from ARGV[first] on; `raw`, after its first `skip` elements, is what is stored
-- under their names. The reply that says why the patch cannot be applied, if so.
--
-- Preconditions come before types, and types before sizes, whatever the order of the fields.
local function plan(first, raw, skip, at)
    local max_bytes, max_field, max_count = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
    local wrong, large
    local more_bytes, more_count = 0, 0
    for i = first, #ARGV, 5 do
        local name, op, a, b, span = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
        skip = skip + 1
        local old = raw[skip]
        local kind, revision, deadline, payload
        if old then
            kind, revision, deadline, payload = open(old)
            bytes, count = bytes - #name - #payload, count - 1
        end
        local live = old and not (deadline and deadline <= now)
        local value, tag = nil, BYTES
        if op == 'S' then
            value, deadline = a, nil
        elseif op == 'P' then
            if live then return { 'conflict', name, old } end
            value, deadline = a, nil
        elseif op == 'C' or op == 'D' then
            local is = live and revision or nil
            if tonumber(a) ~= is then return { 'conflict', name, live and old or false } end
            if op == 'C' then value, deadline = b, nil end
        elseif op == 'I' then
            tag = COUNTER
            if live and (kind ~= COUNTER or #payload ~= 8) then
                wrong = wrong or { 'invalid', name, 'is no counter' }
            else
                -- two halves, because a Lua number holds 53 bits
                local high, low = 0, 0
                if live then high, low = struct.unpack('>i4I4', payload) end
                local by_high, by_low = struct.unpack('>i4I4', a)
                high, low = high + by_high, low + by_low
                if low >= 4294967296 then high, low = high + 1, low - 4294967296 end
                if high < -2147483648 or high > 2147483647 then
                    wrong = wrong or { 'invalid', name, 'would overflow' }
                else
                    value = struct.pack('>i4I4', high, low)
                end
            end
        elseif op == 'M' then
            tag = SET
            if live and kind ~= SET then
                wrong = wrong or { 'invalid', name, 'is no set' }
            else
                value = members(live and payload or '', a, b)
            end
        elseif op == 'A' then
            tag = LIST
            if live and kind ~= LIST then
                wrong = wrong or { 'invalid', name, 'is no list' }
            else
                value = appended(live and payload or '', a, tonumber(b))
            end
        end
        -- a set or a list without elements is none
        if value == '' and tag ~= BYTES then value = nil end
        if value then
            if #value > max_field then large = large or { 'large', name, #value } end
            if span ~= '' then deadline = now + span elseif not live then deadline = nil end
            set[#set + 1] = name
            if deadline then
                set[#set + 1] = struct.pack('>BI8I8', tag - 32, at, deadline) .. value
            else
                set[#set + 1] = struct.pack('>BI8', tag, at) .. value
            end
            more_bytes, more_count = more_bytes + #name + #value, more_count + 1
        elseif old then
            unset[#unset + 1] = name
        end
    end
    if wrong then return wrong end
    if large then return large end
    if count + more_count > max_count or bytes + more_bytes > max_bytes then
        -- what has expired counts no longer: it goes now
        local named = {}
        for i = first, #ARGV, 5 do named[ARGV[i]] = true end
        local all = redis.call('HGETALL', key)
        bytes, count = 0, 0
        for i = 1, #all, 2 do
            local name = all[i]
            if string.byte(name) ~= 126 and not named[name] then
                local _, _, deadline, payload = open(all[i + 1])
                if deadline and deadline <= now then
                    unset[#unset + 1] = name
                else
                    bytes, count = bytes + #name + #payload, count + 1
                end
            end
        end
        if count + more_count > max_count then return { 'many', count + more_count } end
        if bytes + more_bytes > max_bytes then return { 'large', '', bytes + more_bytes } end
    end
    bytes, count = bytes + more_bytes, count + more_count
end
