-- Ends a sweep whose runs have all ended, when no process counted the last one.
-- KEYS   1 sweep_key  pq1:sweep:<sweep>  hash
local sweep_key = unpack(KEYS)
local now = clock()
call('HSETNX', sweep_key, 'ended', now)
call('EXPIRE', sweep_key, ENDED_SWEEP_SECONDS)
