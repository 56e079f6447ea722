-- Deletes an ended sweep, so that it can be opened again.
-- KEYS   1 sweep_key     pq1:sweep:<sweep>   hash
--        2 flight_key    pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 reopened_key  pq1:redo:<sweep>    bitmap: indexes to be allotted again
--        4 causes_key    pq1:causes:<sweep>  hash: cause -> failed runs, and an example of each
--        5 sweeps_key    pq1:sweeps          set: sweeps that have not ended
--        6 runs          pq1:run:<sweep>.    prefix of the names of its run hashes
-- ARGV   1 sweep, then indexes of ended runs to drop
-- result 1 deleted or unknown | 0 the sweep has not ended
local sweep_key, flight_key, reopened_key, causes_key, sweeps_key, runs = unpack(KEYS)
local sweep = unpack(ARGV, 1, 1)
if call('EXISTS', sweep_key) == 1 and call('HEXISTS', sweep_key, 'ended') == 0 then return 0 end
for i = 2, #ARGV do
  local key = runs .. ARGV[i]
  if ENDED[call('HGET', key, 'state')] then call('DEL', key) end
end
if #ARGV == 1 then
  call('DEL', sweep_key, flight_key, reopened_key, causes_key)
  call('SREM', sweeps_key, sweep)
end
return 1
