-- Records the end of a run that has already ended on the storage.
-- KEYS   1 run_key     pq1:run:<run>       hash
--        2 active_key  pq1:active          set: runs in flight
--        3 sweep_key   pq1:sweep:<sweep>   hash
--        4 flight_key  pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        5 causes_key  pq1:causes:<sweep>  hash: cause -> failed runs, and an example of each
--        6 sweeps_key  pq1:sweeps          set: sweeps that have not ended
-- ARGV   1 run, 2 state, 3 seconds to remember an ended run
local run_key, active_key, sweep_key, flight_key, causes_key, sweeps_key = unpack(KEYS)
local run, run_state, remember_seconds = unpack(ARGV)
local now = clock()
call('SREM', active_key, run)
leave(now, run_key, sweep_key, flight_key, causes_key, sweeps_key, run, run_state, '')
local state = call('HGET', run_key, 'state')
if not state or ENDED[state] then return end
call('HSET', run_key, 'state', run_state, 'ended', now)
call('EXPIRE', run_key, remember_seconds)
