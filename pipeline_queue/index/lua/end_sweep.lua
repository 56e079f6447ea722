-- Ends a sweep all of whose runs have ended, when nobody was there to count the last.
-- KEYS   1 sweep_key  pq1:sweep:<sweep>  hash
local sweep_key = unpack(KEYS)
local now = clock()
call('HSETNX', sweep_key, 'ended', now)
call('EXPIRE', sweep_key, ENDED_SWEEP_SECONDS)
