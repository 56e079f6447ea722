-- Has nothing of a sweep start any more.
-- KEYS   1 sweep_key  pq1:sweep:<sweep>  hash
-- result 1 done | 0 it is not known, or has ended
local sweep_key = unpack(KEYS)
if not call('HGET', sweep_key, 'state') or call('HEXISTS', sweep_key, 'ended') == 1 then return 0 end
call('HSET', sweep_key, 'state', 'cancelled')
return 1
