-- Marks runs to be allotted again, before those that were never started. Safe to repeat.
-- KEYS   1 sweep_key     pq1:sweep:<sweep>   hash
--        2 flight_key    pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 reopened_key  pq1:redo:<sweep>    bitmap: indexes to be allotted again
--        4 causes_key    pq1:causes:<sweep>  hash: cause -> failed runs, and an example of each
--        5 runs          pq1:run:<sweep>.    prefix of the names of its run hashes
-- ARGV   index and state for each: the state under which the sweep counts the run, or '' when it does not count it
-- result number of runs that wait now and did not before
local sweep_key, flight_key, reopened_key, causes_key, runs = unpack(KEYS)
local now = clock()
if call('EXISTS', sweep_key) == 0 or call('HEXISTS', sweep_key, 'ended') == 1 then return 0 end
local added = 0
for i = 1, #ARGV, 2 do
  local index, counted = ARGV[i], ARGV[i + 1]
  local key = runs .. index
  local state = call('HGET', key, 'state')
  local free = not state or (counted ~= '' and (state == 'failed' or state == 'cancelled'))
  if free and not call('ZSCORE', flight_key, index) and call('SETBIT', reopened_key, index, 1) == 0 then
    call('DEL', key)
    if counted ~= '' then call('HINCRBY', sweep_key, state or counted, -1) end
    added = added + 1
  elseif (state == 'queued' or state == 'running') and counted == '' then
    -- Known from before the sweep was reopened, or a worker has claimed its next step since: the run is in flight.
    local allotted = call('HGET', key, 'allotted')
    if not allotted then call('HSET', key, 'allotted', 'started') end
    if not call('ZSCORE', flight_key, index) then
      call('ZADD', flight_key, now, index)
      call('HINCRBY', sweep_key, 'flight', 1)
      if allotted == 'queued' then call('HINCRBY', sweep_key, 'unstarted', 1) end
    end
  end
end
call('HINCRBY', sweep_key, 'redo', added)
if call('HGET', sweep_key, 'failed') == '0' then call('DEL', causes_key) end
return added
