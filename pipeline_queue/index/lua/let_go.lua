-- Releases the lock that hold.lua acquires, if this holder still has it.
-- KEYS   1 lock_key  pq1:reconciler  `<ms of expiry> <holder>`
-- ARGV   1 holder
local lock_key = unpack(KEYS)
local holder = unpack(ARGV)
if string.match(call('GET', lock_key) or '', '^%d+ (.*)$') == holder then call('DEL', lock_key) end
