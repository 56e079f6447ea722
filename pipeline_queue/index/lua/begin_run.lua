-- Counts a run as begun when it waits for another run that executes the same shared step.
-- KEYS   1 run_key     pq1:run:<run>       hash
--        2 sweep_key   pq1:sweep:<sweep>   hash
--        3 flight_key  pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
-- ARGV   1 run
-- result 1 when the sweep should take more runs into its window
local run_key, sweep_key, flight_key = unpack(KEYS)
local run = unpack(ARGV)
return begin(run_key, sweep_key, flight_key, run)
