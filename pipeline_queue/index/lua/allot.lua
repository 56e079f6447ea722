-- Takes the next runs of a sweep into its window.
-- KEYS   1 sweep_key     pq1:sweep:<sweep>   hash
--        2 flight_key    pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 active_key    pq1:active          set: runs in flight
--        4 runs          pq1:run:<sweep>.    what the names of its run hashes begin with
--        5 reopened_key  pq1:redo:<sweep>    bitmap: indexes to be allotted again
-- ARGV   1 sweep, 2 most unstarted runs, 3 most runs in flight; nothing is taken while more than half of the first are
--        unstarted, so that a call takes several; 4 how many runs the sweep has, or ''
-- result how many of them are taken again, then the indexes taken, those first
local sweep_key, flight_key, active_key, runs, reopened_key = unpack(KEYS)
local sweep, max_unstarted, max_in_flight, expected_total = unpack(ARGV)
local now = clock()
local sweep_fields = read(sweep_key, 'state', 'total', 'cursor', 'unstarted', 'flight', 'max_parallel', 'redo')
-- A stopped sweep starts nothing; what of it had begun when the server was emptied goes on.
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
    -- Under way since before the sweep was restored.
    call('HSET', run_key, 'allotted', 'queued')
  else
    -- What is left of one that has ended would expire; its message finds out on the storage.
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
    -- Known by now, and so counted: whoever ran or cancelled it was faster.
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
