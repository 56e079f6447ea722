-- Lets go of such a lock, if it is still this holder's.
-- KEYS   1 lock_key  pq1:reconciler  `<ms until when> <holder>`
-- ARGV   1 holder
local lock_key = unpack(KEYS)
local holder = unpack(ARGV)
if string.match(call('GET', lock_key) or '', '^%d+ (.*)$') == holder then call('DEL', lock_key) end
