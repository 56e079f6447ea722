-- Takes the next runs of a sweep into its window.
-- KEYS   1 sweep_key     pq1:sweep:<sweep>   hash
--        2 flight_key    pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 active_key    pq1:active          set: runs in flight
--        4 runs          pq1:run:<sweep>.    prefix of the names of its run hashes
--        5 reopened_key  pq1:redo:<sweep>    bitmap: indexes to be allotted again
-- ARGV   1 sweep, 2 max unstarted runs, 3 max runs in flight, 4 number of runs of the sweep, or ''. The script takes no
--        run while more than half of the max unstarted runs are unstarted, so that each call takes several.
-- result number of runs allotted again, then the allotted indexes, starting with those runs
local sweep_key, flight_key, active_key, runs, reopened_key = unpack(KEYS)
local sweep, max_unstarted, max_in_flight, expected_total = unpack(ARGV)
local now = clock()
local sweep_fields = read(sweep_key, 'state', 'total', 'cursor', 'unstarted', 'flight', 'max_parallel', 'redo')
-- A stopped sweep starts no new runs, but its runs that had begun before the server was flushed continue.
if sweep_fields.state ~= 'running' and sweep_fields.state ~= 'stopped' then return {0} end
local total, cursor = whole(sweep_key, sweep_fields.total), whole(sweep_key, sweep_fields.cursor)
local unstarted, flight = whole(sweep_key, sweep_fields.unstarted), whole(sweep_key, sweep_fields.flight)
if (expected_total ~= '' and total ~= tonumber(expected_total)) or cursor < 0 then garbage(sweep_key) end
local most = tonumber(max_unstarted)
call('HSET', sweep_key, 'most', max_unstarted)
if unstarted * 2 > most then return {0} end
local room = math.min(most - unstarted, tonumber(max_in_flight) - flight)
local max_parallel = sweep_fields.max_parallel
if max_parallel and max_parallel ~= '' then room = math.min(room, whole(sweep_key, max_parallel) - flight) end
local result = {0}
local function take(index)
  local text = string.format('%d', index)
  local run_key = runs .. text
  local state = call('HGET', run_key, 'state')
  if state == 'running' then
    -- The run has been executing since before the sweep was restored.
    call('HSET', run_key, 'allotted', 'queued')
  else
    -- The hash of an ended run would expire. Its message gets the outcome from the storage.
    if state then call('DEL', run_key) end
    call('HSET', run_key, 'state', 'queued', 'created', now, 'allotted', 'queued')
  end
  call('ZADD', flight_key, now, text)
  call('SADD', active_key, sweep .. '.' .. text)
  result[#result + 1] = index
end
local waiting = whole(sweep_key, sweep_fields.redo or 0)
local left = waiting
while left > 0 and #result <= room do
  local index = call('BITPOS', reopened_key, 1)
  if index < 0 then
    left = 0
  else
    call('SETBIT', reopened_key, index, 0)
    left = left - 1
    -- A run with a state was executed or cancelled in the meantime, and is already counted.
    if index < total and not call('HGET', runs .. string.format('%d', index), 'state') then take(index) end
  end
end
result[1] = #result - 1
if left ~= waiting then call('HSET', sweep_key, 'redo', left) end
if left == 0 and waiting > 0 then call('DEL', reopened_key) end
local fresh = sweep_fields.state == 'running' and math.max(math.min(room - result[1], total - cursor), 0) or 0
for index = cursor, cursor + fresh - 1 do take(index) end
local taken = #result - 1
if fresh > 0 then call('HINCRBY', sweep_key, 'cursor', fresh) end
if taken > 0 then
  call('HINCRBY', sweep_key, 'unstarted', taken)
  call('HINCRBY', sweep_key, 'flight', taken)
elseif waiting > 0 and left == 0 and flight == 0 and (cursor >= total or sweep_fields.state == 'stopped') then
  call('HSETNX', sweep_key, 'ended', now)
  call('EXPIRE', sweep_key, ENDED_SWEEP_SECONDS)
end
return result
