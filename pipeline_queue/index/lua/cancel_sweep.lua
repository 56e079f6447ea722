-- Marks a sweep as cancelled, so that none of its runs start any more.
-- KEYS   1 sweep_key  pq1:sweep:<sweep>  hash
-- result 1 done | 0 the sweep is unknown or has ended
local sweep_key = unpack(KEYS)
if not call('HGET', sweep_key, 'state') or call('HEXISTS', sweep_key, 'ended') == 1 then return 0 end
call('HSET', sweep_key, 'state', 'cancelled')
return 1
