-- Opens a sweep. Keeps a sweep that is already known, and adds it to the unended sweeps if it has not ended.
-- KEYS   1 sweep_key   pq1:sweep:<sweep>  hash
--        2 sweeps_key  pq1:sweeps         set: sweeps that have not ended
-- ARGV   1 sweep, 2 total, 3 max_parallel or '', 4 failures above which no more runs start, or '',
--        5 state (running | paused | cancelled), 6 cursor, 7 succeeded, 8 failed, 9 cancelled
-- result 1 opened | 0 already known
local sweep_key, sweeps_key = unpack(KEYS)
local sweep, total, max_parallel, max_failures, state, cursor, succeeded, failed, cancelled = unpack(ARGV)
local now = clock()
if call('EXISTS', sweep_key) == 1 then
  if call('HEXISTS', sweep_key, 'ended') == 0 then call('SADD', sweeps_key, sweep) end
  return 0
end
call('SADD', sweeps_key, sweep)
call('HSET', sweep_key, 'total', total, 'max_parallel', max_parallel, 'max_failures', max_failures, 'state', state,
           'cursor', cursor, 'succeeded', succeeded, 'failed', failed, 'cancelled', cancelled,
           'unstarted', 0, 'flight', 0, 'created', now, 'before', succeeded + failed)
return 1
