-- Pauses or resumes a sweep.
-- KEYS   1 sweep_key  pq1:sweep:<sweep>  hash
-- ARGV   1 the state it must have, 2 its new state
-- result 1 done | 0 the sweep is in another state
local sweep_key = unpack(KEYS)
local from, to = unpack(ARGV)
if call('HGET', sweep_key, 'state') ~= from or call('HEXISTS', sweep_key, 'ended') == 1 then return 0 end
call('HSET', sweep_key, 'state', to)
return 1
