-- Returns runs in flight that have neither a lease nor a pending retry. Checks each run at most once in the given time.
-- Also recounts the runs in flight, in case the counts in the sweep's hash are wrong.
-- KEYS   1 flight_key   pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        2 leases_key   pq1:leases          sorted set: `<run> <step>` by ms of expiry
--        3 retries_key  pq1:retries         sorted set: `<run> <step>` by ms when it is due
--        4 sweep_key    pq1:sweep:<sweep>   hash
--        5 runs         pq1:run:<sweep>.    prefix of the names of its run hashes
-- ARGV   1 sweep, 2 ms since the last look, 3 max runs, then the pipeline's steps
-- result 1 when the counts were wrong, or 0; then the indexes of these runs
local flight_key, leases_key, retries_key, sweep_key, runs = unpack(KEYS)
local sweep, look_ms, most = unpack(ARGV, 1, 3)
local now = clock()
-- After the clock was set back, recorded times may lie in the future.
local AHEAD_MS = 60000

local result = {recount(sweep_key, flight_key, runs)}
local indexes = call('ZRANGEBYSCORE', flight_key, '-inf', now - tonumber(look_ms), 'LIMIT', 0, most)
-- A time in the future is wrong: check these runs too.
for _, index in ipairs(call('ZRANGEBYSCORE', flight_key, now + AHEAD_MS, '+inf', 'LIMIT', 0, most)) do
  indexes[#indexes + 1] = index
end
for _, index in ipairs(indexes) do
  call('ZADD', flight_key, now, index)
  local tracked = false
  for i = 4, #ARGV do
    local member = sweep..'.'..index..' '..ARGV[i]
    tracked = tracked or call('ZSCORE', leases_key, member) or call('ZSCORE', retries_key, member)
  end
  if not tracked then result[#result + 1] = index end
end
return result
