-- Functions shared by all scripts of the index; scripts.py puts this file in front of each.

-- The states of an ended run, as contract/states.py names them.
local ENDED = {succeeded = true, failed = true, cancelled = true}
-- How long an ended sweep is remembered.
local ENDED_SWEEP_SECONDS = 86400
-- Max causes by which a sweep's failures are counted; further ones are counted together.
local MAX_CAUSES = 200
-- Larger numbers are garbage: none of our counts and times come close.
local MAX_NUMBER = 1e15

local function garbage(key) error('GARBAGE NUMBER '..key) end

-- Calls a Redis command. Other programs may have written anything to our keys: when a command meets a wrong type or a
-- value that is not a number, the script fails with the key's name and mending.py deletes the key. `whole` and `number`
-- check fields in the same way.
local function call(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    local text = reply.err
    if string.find(text, 'WRONGTYPE', 1, true) then error('GARBAGE TYPE '..key) end
    if string.find(text, 'not an integer', 1, true) or string.find(text, 'overflow', 1, true) then garbage(key) end
    return redis.call(command, key, ...)
  end
  return reply
end

local function number(key, text)
  -- Decimal only: Lua's tonumber accepts other forms too.
  local value = string.match(tostring(text), '^%-?[%d%.]+$') and tonumber(text)
  if not value or value ~= value or math.abs(value) > MAX_NUMBER then garbage(key) end
  return value
end

local function whole(key, text)
  local value = number(key, text)
  if value ~= math.floor(value) then garbage(key) end
  return value
end

-- Returns fields of a hash by name; a missing field is false.
local function read(key, ...)
  local names, found = {...}, {}
  for at, value in ipairs(call('HMGET', key, ...)) do found[names[at]] = value end
  return found
end

-- Reads fields of a run's hash and the fields `<step>|<name>` of one of its steps with one command, by name.
local function read_run(run_key, names, step, step_names)
  local fields, run_fields, step_fields = {unpack(names)}, {}, {}
  for _, name in ipairs(step_names) do fields[#fields + 1] = step..'|'..name end
  for at, value in ipairs(call('HMGET', run_key, unpack(fields))) do
    if at <= #names then run_fields[names[at]] = value else step_fields[step_names[at - #names]] = value end
  end
  return run_fields, step_fields
end

-- Returns the index of a run `<sweep>.<index>`, as text.
local function index_of(run) return string.match(run, '%d+$') end

-- Returns the time by Redis' clock: milliseconds since 1970, and microseconds as text.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000), string.format('%.0f', time[1] * 1000000 + time[2])
end

-- Marks a run as begun, once: it no longer counts among its sweep's unstarted runs. Returns 1 when the sweep should
-- take more runs now: it has more to start, and half of its window has begun.
local function begin(run_key, sweep_key, flight_key, run)
  if call('HGET', run_key, 'allotted') ~= 'queued' then return 0 end
  call('HSET', run_key, 'allotted', 'started')
  local sweep = read(sweep_key, 'cursor', 'total', 'redo', 'most')
  if not sweep.cursor or not call('ZSCORE', flight_key, index_of(run)) then return 0 end
  local unstarted = call('HINCRBY', sweep_key, 'unstarted', -1)
  local more = whole(sweep_key, sweep.cursor) < whole(sweep_key, sweep.total) or whole(sweep_key, sweep.redo or 0) > 0
  return more and unstarted * 2 <= whole(sweep_key, sweep.most or unstarted * 2) and 1 or 0
end

-- Counts a failed run under its cause, and stops the sweep when too many runs have failed.
local function count_failure(sweep_key, causes_key, run, cause, sweep)
  if cause ~= '' then
    if call('HEXISTS', causes_key, cause) == 0 and call('HLEN', causes_key) >= MAX_CAUSES then
      cause = 'other causes'
    end
    call('HINCRBY', causes_key, cause, 1)
    call('HSETNX', causes_key, 'example|' .. cause, run)
  end
  local is_open = sweep.state == 'running' or sweep.state == 'paused'
  local most = sweep.max_failures
  if most and most ~= '' and is_open and whole(sweep_key, sweep.failed) > whole(sweep_key, most) then
    call('HSET', sweep_key, 'state', 'stopped')
    sweep.state = 'stopped'
  end
end

-- Removes a run from its sweep's window, once. From its allotment to its end, a run has its index in its sweep's flight
-- set, and in its hash the field `allotted`, which says whether it has begun. If the index is missing, the sweep was
-- restored from the storage in the meantime, and this function does not count the run. `flight` counts the runs that
-- are allotted and not ended, `unstarted` those of them that no worker has claimed, `redo` the runs that wait to be
-- allotted again. A sweep ends with its last run. It stays in the set of unended sweeps until its end is on the
-- storage; the end of a sweep with a single run is already there.
local function leave(now, run_key, sweep_key, flight_key, causes_key, sweeps_key, run, state, cause)
  local allotted = call('HGET', run_key, 'allotted')
  call('HDEL', run_key, 'allotted')
  if call('ZREM', flight_key, index_of(run)) == 0 or call('EXISTS', sweep_key) == 0 then return end
  if allotted == 'queued' then call('HINCRBY', sweep_key, 'unstarted', -1) end
  call('HINCRBY', sweep_key, state, 1)
  local flight = call('HINCRBY', sweep_key, 'flight', -1)
  local sweep = read(sweep_key, 'state', 'cursor', 'total', 'failed', 'max_failures', 'redo')
  if state == 'failed' then count_failure(sweep_key, causes_key, run, cause, sweep) end
  local reopened = whole(sweep_key, sweep.redo or 0)
  local all_taken = whole(sweep_key, sweep.cursor) >= whole(sweep_key, sweep.total) and reopened == 0
  local over = all_taken or sweep.state == 'cancelled' or (sweep.state == 'stopped' and reopened == 0)
  if flight > 0 or not over then return end
  call('HSET', sweep_key, 'ended', now)
  if sweep.total == '1' then call('SREM', sweeps_key, string.match(run, '^(.*)%.%d+$')) end
  call('EXPIRE', sweep_key, ENDED_SWEEP_SECONDS)
  call('EXPIRE', causes_key, ENDED_SWEEP_SECONDS)
end

-- Counts the runs in flight of a known sweep again. Returns 1 when its hash had other numbers, which it corrects.
local function recount(sweep_key, flight_key, runs)
  local unstarted, flight = 0, 0
  for _, index in ipairs(call('ZRANGE', flight_key, 0, -1)) do
    local allotted = call('HGET', runs .. index, 'allotted')
    -- The run's hash was dropped. The run is still in flight, and the sweep monitor looks for it.
    if not allotted then call('HSET', runs .. index, 'allotted', 'started') end
    if allotted == 'queued' then unstarted = unstarted + 1 end
    flight = flight + 1
  end
  local sweep = read(sweep_key, 'flight', 'unstarted', 'state')
  if not sweep.state or (tonumber(sweep.flight) == flight and tonumber(sweep.unstarted) == unstarted) then return 0 end
  call('HSET', sweep_key, 'flight', flight, 'unstarted', unstarted)
  return 1
end
