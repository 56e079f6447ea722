-- Runs in flight that nothing keeps track of: no lease, no retry that waits. Each is looked at once in the given time.
-- On the way the runs in flight are counted, should the sweep's hash say another number.
-- KEYS   1 flight_key   pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        2 leases_key   pq1:leases          sorted set: `<run> <step>` by ms of expiry
--        3 retries_key  pq1:retries         sorted set: `<run> <step>` by ms when it is due
--        4 sweep_key    pq1:sweep:<sweep>   hash
--        5 runs         pq1:run:<sweep>.    what the names of its run hashes begin with
-- ARGV   1 sweep, 2 ms since the last look, 3 most, then the pipeline's steps
-- result 1 when the counts were wrong, or 0; then indexes
local flight_key, leases_key, retries_key, sweep_key, runs = unpack(KEYS)
local sweep, look_ms, most = unpack(ARGV, 1, 3)
local now = clock()
-- A clock that was set back may have left times to come.
local AHEAD_MS = 60000

local result = {recount(sweep_key, flight_key, runs)}
local indexes = call('ZRANGEBYSCORE', flight_key, '-inf', now - tonumber(look_ms), 'LIMIT', 0, most)
-- Nothing was allotted in the time to come.
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
