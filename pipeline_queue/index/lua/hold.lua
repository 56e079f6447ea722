-- Acquires or extends the lock, which has one holder at a time. Its value is `<ms of expiry> <holder>`. A value of any
-- other form, or with a time later than any holder asks for, counts as free, whether or not the key expires.
-- KEYS   1 lock_key  pq1:reconciler  `<ms of expiry> <holder>`
-- ARGV   1 holder, 2 ms
-- result 1 held | 0 another holder has it
local lock_key = unpack(KEYS)
local holder, term_ms = unpack(ARGV)
local now = clock()
local term = tonumber(term_ms)
local ends, present = string.match(call('GET', lock_key) or '', '^(%d+) (.*)$')
if present and present ~= holder and tonumber(ends) > now and tonumber(ends) <= now + 10 * term then return 0 end
call('SET', lock_key, string.format('%d ', now + term) .. holder, 'PX', term_ms)
return 1
