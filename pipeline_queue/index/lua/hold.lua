-- One holder at a time: takes the lock or extends it. Its value is `<ms until when> <holder>`: one that says nothing of
-- the kind, or of a time that nobody asks for, is nobody's, whether it expires or not.
-- KEYS   1 lock_key  pq1:reconciler  `<ms until when> <holder>`
-- ARGV   1 holder, 2 ms
-- result 1 held | 0 another's
local lock_key = unpack(KEYS)
local holder, term_ms = unpack(ARGV)
local now = clock()
local term = tonumber(term_ms)
local ends, present = string.match(call('GET', lock_key) or '', '^(%d+) (.*)$')
if present and present ~= holder and tonumber(ends) > now and tonumber(ends) <= now + 10 * term then return 0 end
call('SET', lock_key, string.format('%d ', now + term) .. holder, 'PX', term_ms)
return 1
