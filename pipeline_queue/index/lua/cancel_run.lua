-- Requests the cancellation of a run that has not ended.
-- KEYS   1 run_key     pq1:run:<run>       hash
--        2 active_key  pq1:active          set: runs in flight
--        3 sweep_key   pq1:sweep:<sweep>   hash
--        4 flight_key  pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        5 causes_key  pq1:causes:<sweep>  hash: cause -> failed runs, and an example of each
--        6 sweeps_key  pq1:sweeps          set: sweeps that have not ended
-- ARGV   1 seconds to remember an ended run, 2 run
-- result 'ended' | 'running' (a worker will end it) | 'idle' (no step was running; the run is now cancelled)
local run_key, active_key, sweep_key, flight_key, causes_key, sweeps_key = unpack(KEYS)
local remember_seconds, run = unpack(ARGV)
local now = clock()
local all = call('HGETALL', run_key)
local busy = false
for i = 1, #all, 2 do
  if all[i] == 'state' and ENDED[all[i + 1]] then return 'ended' end
end
for i = 1, #all, 2 do
  local step = string.match(all[i], '^(.*)|state$')
  if step and all[i + 1] == 'running' and number(run_key, call('HGET', run_key, step..'|until') or 0) > now then
    busy = true
  end
end
call('HSET', run_key, 'cancel', now)
if busy then return 'running' end
call('HSET', run_key, 'state', 'cancelled', 'ended', now)
call('EXPIRE', run_key, remember_seconds)
call('SREM', active_key, run)
leave(now, run_key, sweep_key, flight_key, causes_key, sweeps_key, run, 'cancelled', '')
return 'idle'
