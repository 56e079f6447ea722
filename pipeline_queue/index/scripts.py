"""The Lua scripts of the index: each decides and writes in one atomic step, on Redis' own clock.

A run's hash holds `state`, `created` (ms), `cancel`, and for every step that was ever claimed the fields
`<step>|state`, `|attempts`, `|failures`, `|deaths`, `|holder`, `|token`, `|until` (ms), `|worker`,
`|started` (ms), `|seconds`, `|exit`, `|message`, `|due` (ms), and of one that failed `|handed` (how often another
worker was to say whether the step or its machine failed), `|avoid` (workers and hosts that leave it to others, by line)
and `|avoid_until` (ms); `published` is how many of its first steps are. Times are
milliseconds since 1970 by Redis. A sweep's hash keeps what its last steps took as `took|<step>` (ms, newest first).
"""

from __future__ import annotations

# Calls a command of Redis. What lies under a key of ours may be anything: a command that meets a wrong type or what is
# no number ends the script with the key's name, for mending.py to drop it. `whole` and `number` read fields likewise.
CALL = """
local function garbage(key) error('GARBAGE NUMBER '..key) end
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
  -- In decimal: Lua takes other forms too.
  local value = string.match(tostring(text), '^%-?[%d%.]+$') and tonumber(text)
  if not value or value ~= value or math.abs(value) > 1e15 then garbage(key) end
  return value
end
local function whole(key, text)
  local value = number(key, text)
  if value ~= math.floor(value) then garbage(key) end
  return value
end
"""

_NOW = (
    CALL
    + """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
)

# A run leaves its sweep's window, once: its index is in the flight of its sweep from its allotment to its end, and
# `allotted` in its hash, which says whether it has begun; without the first, the sweep was restored from the
# storage meanwhile, and the run is not counted here. `flight` counts what is allotted and not ended, `unstarted` what
# of it no worker has claimed, `redo` what waits to be allotted again. With its last run a sweep has ended; it stays
# among the unended ones until its end is on the storage, which a single run's is already.
_LEAVE = """
local function leave(run_key, sweep_key, flight_key, causes_key, sweeps_key, run, state, cause)
  local allotted = call('HGET', run_key, 'allotted')
  local sweep, index = string.match(run, '^(.*)%.(%d+)$')
  call('HDEL', run_key, 'allotted')
  if call('ZREM', flight_key, index) == 0 or call('EXISTS', sweep_key) == 0 then return end
  if allotted == 'queued' then call('HINCRBY', sweep_key, 'unstarted', -1) end
  call('HINCRBY', sweep_key, state, 1)
  local flight = call('HINCRBY', sweep_key, 'flight', -1)
  local s = call('HMGET', sweep_key, 'state', 'cursor', 'total', 'failed', 'max_failures', 'redo')
  if state == 'failed' then
    if cause ~= '' then
      if call('HEXISTS', causes_key, cause) == 0 and call('HLEN', causes_key) >= 200 then
        cause = 'other causes'
      end
      call('HINCRBY', causes_key, cause, 1)
      call('HSETNX', causes_key, 'example|' .. cause, run)
    end
    local is_open = s[1] == 'running' or s[1] == 'paused'
    if s[5] ~= '' and s[5] and is_open and whole(sweep_key, s[4]) > whole(sweep_key, s[5]) then
      call('HSET', sweep_key, 'state', 'stopped')
      s[1] = 'stopped'
    end
  end
  local reopened = whole(sweep_key, s[6] or 0)
  local all_taken = whole(sweep_key, s[2]) >= whole(sweep_key, s[3]) and reopened == 0
  local over = all_taken or s[1] == 'cancelled' or (s[1] == 'stopped' and reopened == 0)
  if flight > 0 or not over then return end
  call('HSET', sweep_key, 'ended', now)
  if s[3] == '1' then call('SREM', sweeps_key, sweep) end
  call('EXPIRE', sweep_key, 86400)
  call('EXPIRE', causes_key, 86400)
end
"""

# Counts the runs in flight of a sweep that is known. Returns 1 when that gives other numbers than its hash had.
_RECOUNT = """
local function recount(sweep_key, flight_key, runs)
  local unstarted, flight = 0, 0
  for _, index in ipairs(call('ZRANGE', flight_key, 0, -1)) do
    local allotted = call('HGET', runs .. index, 'allotted')
    -- Its hash was dropped: it is in flight, and looked for.
    if not allotted then call('HSET', runs .. index, 'allotted', 'started') end
    if allotted == 'queued' then unstarted = unstarted + 1 end
    flight = flight + 1
  end
  local s = call('HMGET', sweep_key, 'flight', 'unstarted', 'state')
  if not s[3] or (tonumber(s[1]) == flight and tonumber(s[2]) == unstarted) then return 0 end
  call('HSET', sweep_key, 'flight', flight, 'unstarted', unstarted)
  return 1
end
"""

# Accepts a sweep; what is there stays, and unless it has ended it is one of the unended ones.
# KEYS  1 sweep hash, 2 unended sweeps
# ARGV  1 sweep, 2 total, 3 max_parallel or '', 4 failures above which no run is started any more, or '',
#       5 state (running | paused | cancelled), 6 cursor, 7 succeeded, 8 failed, 9 cancelled
# result 1 opened | 0 it was there
OPEN_SWEEP = (
    _NOW
    + """
if call('EXISTS', KEYS[1]) == 1 then
  if call('HEXISTS', KEYS[1], 'ended') == 0 then call('SADD', KEYS[2], ARGV[1]) end
  return 0
end
call('SADD', KEYS[2], ARGV[1])
call('HSET', KEYS[1], 'total', ARGV[2], 'max_parallel', ARGV[3], 'max_failures', ARGV[4], 'state', ARGV[5],
           'cursor', ARGV[6], 'succeeded', ARGV[7], 'failed', ARGV[8], 'cancelled', ARGV[9],
           'unstarted', 0, 'flight', 0, 'created', now, 'before', ARGV[7] + ARGV[8])
return 1
"""
)

# Takes the next runs of a sweep into its window.
# KEYS  1 sweep hash, 2 flight (sorted set: index by time of allotment), 3 active runs, 4 what the run hashes' names
#       begin with (`…:<sweep>.`), 5 redo (bitmap of indexes)
# ARGV  1 sweep, 2 most unstarted runs, 3 most runs in flight; nothing is taken while more than half of the first are
#       unstarted, so that a call takes several; 4 how many runs the sweep has, or ''
# result how many of them are taken again, then the indexes taken, those first
ALLOT = (
    _NOW
    + """
local s = call('HMGET', KEYS[1], 'state', 'total', 'cursor', 'unstarted', 'flight', 'max_parallel', 'redo')
-- A stopped sweep starts nothing; what of it had begun when the server was emptied goes on.
if s[1] ~= 'running' and s[1] ~= 'stopped' then return {0} end
local key = KEYS[1]
local total, cursor, unstarted, flight = whole(key, s[2]), whole(key, s[3]), whole(key, s[4]), whole(key, s[5])
if (ARGV[4] ~= '' and total ~= tonumber(ARGV[4])) or cursor < 0 then garbage(key) end
local most = tonumber(ARGV[2])
call('HSET', KEYS[1], 'most', ARGV[2])
if unstarted * 2 > most then return {0} end
local room = math.min(most - unstarted, tonumber(ARGV[3]) - flight)
if s[6] and s[6] ~= '' then room = math.min(room, whole(key, s[6]) - flight) end
local result = {0}
local function take(index)
  local text = string.format('%d', index)
  local run_key = KEYS[4] .. text
  local state = call('HGET', run_key, 'state')
  if state == 'running' then
    -- Under way since before the sweep was restored.
    call('HSET', run_key, 'allotted', 'queued')
  else
    -- What is left of one that has ended would expire; its message finds out on the storage.
    if state then call('DEL', run_key) end
    call('HSET', run_key, 'state', 'queued', 'created', now, 'allotted', 'queued')
  end
  call('ZADD', KEYS[2], now, text)
  call('SADD', KEYS[3], ARGV[1] .. '.' .. text)
  result[#result + 1] = index
end
local waiting = whole(key, s[7] or 0)
local left = waiting
while left > 0 and #result <= room do
  local index = call('BITPOS', KEYS[5], 1)
  if index < 0 then
    left = 0
  else
    call('SETBIT', KEYS[5], index, 0)
    left = left - 1
    -- Known by now, and so counted: whoever ran or cancelled it was faster.
    if index < total and not call('HGET', KEYS[4] .. string.format('%d', index), 'state') then take(index) end
  end
end
result[1] = #result - 1
if left ~= waiting then call('HSET', KEYS[1], 'redo', left) end
if left == 0 and waiting > 0 then call('DEL', KEYS[5]) end
local fresh = s[1] == 'running' and math.max(math.min(room - result[1], total - cursor), 0) or 0
for index = cursor, cursor + fresh - 1 do take(index) end
local taken = #result - 1
if fresh > 0 then call('HINCRBY', KEYS[1], 'cursor', fresh) end
if taken > 0 then
  call('HINCRBY', KEYS[1], 'unstarted', taken)
  call('HINCRBY', KEYS[1], 'flight', taken)
elseif waiting > 0 and left == 0 and flight == 0 and (cursor >= total or s[1] == 'stopped') then
  call('HSETNX', KEYS[1], 'ended', now)
  call('EXPIRE', KEYS[1], 86400)
end
return result
"""
)

# Has runs taken into their sweep's window again, before those that were never started. Safe to repeat.
# KEYS  1 sweep hash, 2 flight, 3 redo, 4 causes, 5 what the run hashes' names begin with
# ARGV  index and state for each: as what the sweep counts the run, or '' when it is not counted
# result how many wait now that did not
REOPEN = (
    _NOW
    + """
if call('EXISTS', KEYS[1]) == 0 or call('HEXISTS', KEYS[1], 'ended') == 1 then return 0 end
local added = 0
for i = 1, #ARGV, 2 do
  local index, counted = ARGV[i], ARGV[i + 1]
  local key = KEYS[5] .. index
  local state = call('HGET', key, 'state')
  local free = not state or (counted ~= '' and (state == 'failed' or state == 'cancelled'))
  if free and not call('ZSCORE', KEYS[2], index) and call('SETBIT', KEYS[3], index, 1) == 0 then
    call('DEL', key)
    if counted ~= '' then call('HINCRBY', KEYS[1], state or counted, -1) end
    added = added + 1
  elseif (state == 'queued' or state == 'running') and counted == '' then
    -- Known since before the sweep was opened again, or its next step was claimed then: it is in flight.
    local allotted = call('HGET', key, 'allotted')
    if not allotted then call('HSET', key, 'allotted', 'started') end
    if not call('ZSCORE', KEYS[2], index) then
      call('ZADD', KEYS[2], now, index)
      call('HINCRBY', KEYS[1], 'flight', 1)
      if allotted == 'queued' then call('HINCRBY', KEYS[1], 'unstarted', 1) end
    end
  end
end
call('HINCRBY', KEYS[1], 'redo', added)
if call('HGET', KEYS[1], 'failed') == '0' then call('DEL', KEYS[4]) end
return added
"""
)

# Gives a sweep that is known the counts and the cursor that the storage has: a server that came back with an older
# memory would take runs a second time, and count them twice. What is in flight is counted from what is there.
# KEYS  1 sweep hash, 2 flight, 3 redo, 4 what the run hashes' names begin with
# ARGV  1 cursor, 2 succeeded, 3 failed, 4 cancelled, then indexes of runs that have ended and are in flight here
# result 1 done | 0 it is not known, or has ended
RESTORE_SWEEP = (
    CALL
    + _RECOUNT
    + """
if call('EXISTS', KEYS[1]) == 0 or call('HEXISTS', KEYS[1], 'ended') == 1 then return 0 end
local cursor, succeeded, failed, cancelled = unpack(ARGV, 1, 4)
for i = 5, #ARGV do
  call('HDEL', KEYS[4] .. ARGV[i], 'allotted')
  call('ZREM', KEYS[2], ARGV[i])
end
recount(KEYS[1], KEYS[2], KEYS[4])
cursor = math.max(tonumber(cursor), whole(KEYS[1], call('HGET', KEYS[1], 'cursor') or 0))
call('HSET', KEYS[1], 'cursor', string.format('%d', cursor), 'succeeded', succeeded, 'failed', failed,
           'cancelled', cancelled)
return 1
"""
)

# Drops an ended sweep, so that it can be opened anew.
# KEYS  1 sweep hash, 2 flight, 3 redo, 4 causes, 5 unended sweeps, 6 what the run hashes' names begin with
# ARGV  1 sweep, then indexes of ended runs to drop
# result 1 dropped or not known | 0 it has not ended
DROP_SWEEP = (
    CALL
    + """
if call('EXISTS', KEYS[1]) == 1 and call('HEXISTS', KEYS[1], 'ended') == 0 then return 0 end
for i = 2, #ARGV do
  local key = KEYS[6] .. ARGV[i]
  local state = call('HGET', key, 'state')
  if state == 'failed' or state == 'cancelled' or state == 'succeeded' then call('DEL', key) end
end
if #ARGV == 1 then
  call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  call('SREM', KEYS[5], ARGV[1])
end
return 1
"""
)

# Has nothing of a sweep start any more.
# KEYS  1 sweep hash
# result 1 done | 0 it is not known, or has ended
CANCEL_SWEEP = (
    CALL
    + """
if not call('HGET', KEYS[1], 'state') or call('HEXISTS', KEYS[1], 'ended') == 1 then return 0 end
call('HSET', KEYS[1], 'state', 'cancelled')
return 1
"""
)

# Of a cancelled sweep's runs in flight: what was never started is cancelled, what runs is asked to end. A part of them
# at a time, so that nobody else waits long for the server.
# KEYS  1 sweep hash, 2 flight, 3 causes, 4 unended sweeps, 5 active runs, 6 what the run hashes' names begin with
# ARGV  1 sweep, 2 seconds that an ended run is remembered, then indexes
# result how many of them a worker has yet to end
CANCEL_RUNS = (
    _NOW
    + _LEAVE
    + """
local busy = 0
for i = 3, #ARGV do
  local index = ARGV[i]
  local key, run = KEYS[6] .. index, ARGV[1] .. '.' .. index
  -- One that has ended since it was listed is none in flight any more.
  if call('ZSCORE', KEYS[2], index) then
    call('HSET', key, 'cancel', now)
    if call('HGET', key, 'state') == 'queued' then
      call('HSET', key, 'state', 'cancelled', 'ended', now)
      call('EXPIRE', key, ARGV[2])
      call('SREM', KEYS[5], run)
      leave(key, KEYS[1], KEYS[2], KEYS[3], KEYS[4], run, 'cancelled', '')
    else
      busy = busy + 1
    end
  end
end
return busy
"""
)

# Ends a sweep all of whose runs have ended, when nobody was there to count the last.
# KEYS  1 sweep hash
END_SWEEP = (
    _NOW
    + """
call('HSETNX', KEYS[1], 'ended', now)
call('EXPIRE', KEYS[1], 86400)
"""
)

# Asks to execute a shared step: one run leads, the others are parked until it has ended.
# KEYS  1 leaders (hash: shared step -> run), 2 runs parked for this one, 3 what the run hashes' names begin with,
#       4 failures of the sweep's shared steps (hash: shared step -> message)
# ARGV  1 run, 2 step, 3 shared step (`<step>-<identity>`), 4 seconds to keep this
# result {'lead'} | {'parked', leading run} | {'failed', message}
JOIN = (
    CALL
    + """
local failed = call('HGET', KEYS[4], ARGV[3])
if failed then return {'failed', failed} end
local leader = call('HGET', KEYS[1], ARGV[3])
if leader and leader ~= ARGV[1] then
  local f = call('HMGET', KEYS[3]..leader, 'state', ARGV[2]..'|state', 'cancel', ARGV[2]..'|message')
  -- Recorded, and not released yet. Runs of another sweep try for themselves.
  if f[1] == 'failed' and f[2] == 'failed' and string.match(leader, '^(.*)%.') == string.match(ARGV[1], '^(.*)%.') then
    return {'failed', f[4]}
  end
  if (f[1] == 'queued' or f[1] == 'running') and f[2] ~= 'succeeded' and not f[3] then
    call('SADD', KEYS[2], ARGV[1])
    call('EXPIRE', KEYS[2], ARGV[4])
    return {'parked', leader}
  end
end
call('HSET', KEYS[1], ARGV[3], ARGV[1])
call('EXPIRE', KEYS[1], ARGV[4])
call('SREM', KEYS[2], ARGV[1])
return {'lead'}
"""
)

# A shared step has ended: gives the parked runs back, to be enqueued.
# KEYS  1 leaders, 2 parked runs, 3 failures of the sweep's shared steps
# ARGV  1 shared step, 2 message of its failure, or '', 3 seconds to keep that
# result the parked runs
RELEASE = (
    CALL
    + """
call('HDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then
  call('HSET', KEYS[3], ARGV[1], ARGV[2])
  call('EXPIRE', KEYS[3], ARGV[3])
end
local parked = call('SMEMBERS', KEYS[2])
call('DEL', KEYS[2])
return parked
"""
)

# Pauses or resumes a sweep.
# KEYS  1 sweep hash
# ARGV  1 the state it must have, 2 the state it gets
# result 1 done | 0 it is in another state
TURN_SWEEP = (
    CALL
    + """
if call('HGET', KEYS[1], 'state') ~= ARGV[1] or call('HEXISTS', KEYS[1], 'ended') == 1 then return 0 end
call('HSET', KEYS[1], 'state', ARGV[2])
return 1
"""
)

# A run begins, once: it is no longer one of its sweep's unstarted. Returns 1 when the sweep is to take more now: it has
# more to start, and half of its window has begun.
_BEGIN = """
local function begin(run_key, sweep_key, flight_key, run)
  if call('HGET', run_key, 'allotted') ~= 'queued' then return 0 end
  call('HSET', run_key, 'allotted', 'started')
  local s = call('HMGET', sweep_key, 'cursor', 'total', 'redo', 'most')
  if not s[1] or not call('ZSCORE', flight_key, string.match(run, '%d+$')) then return 0 end
  local unstarted = call('HINCRBY', sweep_key, 'unstarted', -1)
  local more = whole(sweep_key, s[1]) < whole(sweep_key, s[2]) or whole(sweep_key, s[3] or 0) > 0
  return more and unstarted * 2 <= whole(sweep_key, s[4] or unstarted * 2) and 1 or 0
end
"""

# A run begins by waiting for another that executes the same step.
# KEYS  1 run hash, 2 sweep hash, 3 flight
# ARGV  1 run
# result 1 when the sweep is to take more
BEGIN = CALL + _BEGIN + "return begin(KEYS[1], KEYS[2], KEYS[3], ARGV[1])"

# The right to execute one attempt.
# KEYS  1 run hash, 2 leases (sorted set: expiry ms), 3 fencing counter, 4 retries, 5 active runs, 6 sweep hash,
#       7 held (set: indexes of runs that wait until their paused sweep is resumed), 8 flight
# ARGV  1 run, 2 step, 3 holder (unique per claim, so that a repeated call is recognised), 4 worker,
#       5 lease ms, 6 most infrastructure deaths, 7 attempts that the storage knows of,
#       8 '1' when this worker takes what it was to leave to others, 9 ms until such a step is due again
# result {'run', attempt, token, failures, 1 when the sweep is to take more, times handed on, where it failed or ''}
#        | {'published', ms since, or ''} | {'elsewhere', worker} | {'cancelled'}
#        | {'ended', state, ms since, or '' when that is not known, 0 when it is known here only} | {'waiting', due ms}
#        | {'exhausted', deaths, worker, message of the last one or '' when its lease ran out} | {'paused'}
#        | {'avoided', where it failed}
CLAIM = (
    _NOW
    + _BEGIN
    + """
local run, step, holder, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local f = call('HMGET', KEYS[1], 'state', 'cancel', step..'|state', step..'|holder', step..'|until',
                     step..'|attempts', step..'|deaths', step..'|token', step..'|failures', step..'|worker',
                     step..'|due', step..'|message', step..'|handed', step..'|avoid', step..'|avoid_until',
                     'ended', 'unwritten', step..'|seconds', step..'|started')
local attempts, deaths = math.max(whole(KEYS[1], f[6] or 0), tonumber(ARGV[7])), whole(KEYS[1], f[7] or 0)
local failures, handed = whole(KEYS[1], f[9] or 0), whole(KEYS[1], f[13] or 0)
if f[3] == 'succeeded' then
  -- Who records that writes how long it took.
  return {'published', f[18] and string.format('%d', math.max(0, now - number(KEYS[1], f[19] or now))) or ''}
end
if f[1] == 'succeeded' or f[1] == 'failed' or f[1] == 'cancelled' then
  local since = f[16] and now - number(KEYS[1], f[16])
  if f[17] then since = 0 end
  return {'ended', f[1], since and string.format('%d', since) or ''}
end
if f[3] == 'running' then
  if f[4] == holder then return {'run', attempts, f[8], failures, 0, handed, f[14] or ''} end
  if number(KEYS[1], f[5] or 0) > now then return {'elsewhere', f[10] or ''} end
  deaths = deaths + 1
end
if tonumber(f[2]) then return {'cancelled'} end
if deaths >= tonumber(ARGV[6]) then
  call('HSET', KEYS[1], step..'|deaths', deaths)
  return {'exhausted', deaths, f[10] or '', f[3] == 'retrying' and f[12] or ''}
end
if f[3] == 'retrying' and number(KEYS[1], f[11] or 0) > now then return {'waiting', f[11]} end
if f[3] == 'retrying' and ARGV[8] == '' and f[14] and number(KEYS[1], f[15] or 0) > now then
  local host = string.match(worker, '@.*$')
  for one in string.gmatch(f[14], '[^\\n]+') do
    if one == worker or one == host then
      call('ZADD', KEYS[4], now + tonumber(ARGV[9]), run..' '..step)
      return {'avoided', f[14]}
    end
  end
end
if call('HGET', KEYS[6], 'state') == 'paused' then
  call('SADD', KEYS[7], string.match(run, '%d+$'))
  call('ZREM', KEYS[4], run..' '..step)
  begin(KEYS[1], KEYS[6], KEYS[8], run)
  return {'paused'}
end
local micros = string.format('%.0f', clock[1] * 1000000 + clock[2])
local last = call('GET', KEYS[3]) or ''
local token = micros
-- Of a counter beyond what a number can count nothing is kept.
last = tonumber(last)
if last and last < 9e15 and last >= tonumber(micros) then token = string.format('%.0f', last + 1) end
call('SET', KEYS[3], token)
local expiry = now + tonumber(ARGV[5])
call('HSET', KEYS[1], 'state', 'running', step..'|state', 'running', step..'|holder', holder,
           step..'|worker', worker, step..'|attempts', attempts + 1, step..'|deaths', deaths,
           step..'|token', token, step..'|until', expiry, step..'|started', now)
call('HSETNX', KEYS[1], 'created', now)
call('HSETNX', KEYS[1], 'started', now)
call('PERSIST', KEYS[1])
call('ZADD', KEYS[2], expiry, run..' '..step)
call('ZREM', KEYS[4], run..' '..step)
call('SADD', KEYS[5], run)
local wants_more = begin(KEYS[1], KEYS[6], KEYS[8], run)
return {'run', attempts + 1, token, failures, wants_more, handed, f[14] or ''}
"""
)

# Extends leases that are still held, and notes those again of which a server that was emptied knows nothing: whoever
# claimed since has written a state. Then the run leads its shared step again too, unless another does by now.
# KEYS  1 leases, 2 active runs, 3.. run hashes, one per lease
# ARGV  1 lease ms, 2 worker, 3 seconds to keep a lead, then run, step, token, attempt, failures, leaders (hash) or '',
#       shared step for each
# result one of 'held' | 'cancelled' (held, but an end is asked for) | 'lost' for each, in order
RENEW = (
    _NOW
    + """
local result = {}
local expiry = now + tonumber(ARGV[1])
for i = 3, #KEYS do
  local at = 7 * i - 17
  local run, step, token = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local f = call('HMGET', KEYS[i], step..'|token', step..'|state', 'cancel', 'state')
  local over = f[4] == 'succeeded' or f[4] == 'failed' or f[4] == 'cancelled'
  if not f[1] and not f[2] and not over then
    call('HSET', KEYS[i], 'state', 'running', step..'|state', 'running', step..'|token', token,
               step..'|worker', ARGV[2], step..'|attempts', ARGV[at + 3], step..'|failures', ARGV[at + 4],
               step..'|started', now)
    call('HSETNX', KEYS[i], 'created', now)
    call('SADD', KEYS[2], run)
    if ARGV[at + 5] ~= '' then
      call('HSETNX', ARGV[at + 5], ARGV[at + 6], run)
      call('EXPIRE', ARGV[at + 5], ARGV[3])
    end
    f = {token, 'running', f[3]}
  end
  if f[1] ~= token or f[2] ~= 'running' then
    result[#result + 1] = 'lost'
  else
    call('HSET', KEYS[i], step..'|until', expiry)
    call('ZADD', KEYS[1], expiry, run..' '..step)
    result[#result + 1] = tonumber(f[3]) and 'cancelled' or 'held'
  end
end
return result
"""
)

# The same for a server that is out of memory, which Redis 7 and Valkey allow: it takes next to none.
RENEW_WHEN_FULL = "#!lua flags=allow-oom\n" + RENEW

# Records how an attempt ended, or with token '*' what the storage has decided already, whoever holds the lease; and
# puts the message of the run's next step on its queue, unless that step is under way or done.
# KEYS  1 run hash, 2 leases, 3 retries (sorted set: due ms), 4 active runs, 5 sweep hash, 6 flight, 7 causes,
#       8 unended sweeps, 9 list of the next message
# ARGV  1 run, 2 step, 3 token, 4 step state after it (succeeded | failed | retrying | cancelled | waiting),
#       5 run state after it, 6 failures added, 7 deaths added, 8 seconds, 9 exit code or '', 10 message,
#       11 delay of the retry in ms, 12 seconds that an ended run is remembered, 13 cause of a failure, for counting,
#       14 next step or '', 15 its message, 16 how many of the run's first steps are published, or 0,
#       17 times handed on added, 18 workers and hosts that leave a retry to others, by line, 19 for how many ms,
#       20 of how many metrics a sweep keeps the span (`<lowest> <index> <highest> <index> <runs> <place>`),
#       21 1 when this end is not on the storage, then name and value of each metric of a run that has succeeded
# result 1 recorded | 0 the lease is another's by now, nothing was written
RECORD = (
    _NOW
    + _LEAVE
    + """
local run, step, state = ARGV[1], ARGV[2], ARGV[4]
local function note_metrics()
  if call('EXISTS', KEYS[5]) == 0 then return end
  call('HINCRBY', KEYS[5], 'measured', 1)
  local index = string.match(run, '%d+$')
  -- Texts throughout: numbers that Lua writes have fewer digits.
  for i = 22, #ARGV, 2 do
    local name, value = 'metric|'..ARGV[i], ARGV[i + 1]
    local low, low_at, high, high_at, runs, place =
      string.match(call('HGET', KEYS[5], name) or '', '^(%S+) (%d+) (%S+) (%d+) (%d+) (%d+)$')
    if not low or not tonumber(low) or not tonumber(high) then
      place = call('HGET', KEYS[5], 'metrics') or '0'
      if whole(KEYS[5], place) >= tonumber(ARGV[20]) then return end
      call('HINCRBY', KEYS[5], 'metrics', 1)
      low, low_at, high, high_at, runs = value, index, value, index, '0'
    end
    if tonumber(value) < tonumber(low) then low, low_at = value, index end
    if tonumber(value) > tonumber(high) then high, high_at = value, index end
    runs = string.format('%d', runs + 1)
    call('HSET', KEYS[5], name, table.concat({low, low_at, high, high_at, runs, place}, ' '))
  end
end
local f = call('HMGET', KEYS[1], step..'|token', step..'|state', 'state', step..'|started', 'published')
if ARGV[3] ~= '*' and (f[1] ~= ARGV[3] or f[2] ~= 'running') then
  if f[1] == ARGV[3] and f[2] == state then return 1 end
  return 0
end
call('ZREM', KEYS[2], run..' '..step)
call('ZREM', KEYS[3], run..' '..step)
call('HSET', KEYS[1], step..'|state', state, step..'|seconds', ARGV[8], step..'|exit', ARGV[9],
           step..'|message', ARGV[10])
if tonumber(ARGV[16]) > (tonumber(f[5]) or 0) then call('HSET', KEYS[1], 'published', ARGV[16]) end
if state == 'succeeded' and ARGV[3] ~= '*' and f[4] and call('EXISTS', KEYS[5]) == 1 then
  local took = string.format('%d', math.max(0, now - number(KEYS[1], f[4])))
  took = took..' '..(call('HGET', KEYS[5], 'took|'..step) or '')
  if #took > 160 then took = string.match(string.sub(took, 1, 160), '^(.*) %d*$') end
  call('HSET', KEYS[5], 'took|'..step, took)
end
call('HINCRBY', KEYS[1], step..'|failures', ARGV[6])
call('HINCRBY', KEYS[1], step..'|deaths', ARGV[7])
if state == 'retrying' then
  local due = now + tonumber(ARGV[11])
  call('HSET', KEYS[1], step..'|due', due)
  call('ZADD', KEYS[3], due, run..' '..step)
  if tonumber(ARGV[17]) > 0 then call('HINCRBY', KEYS[1], step..'|handed', ARGV[17]) end
  call('HDEL', KEYS[1], step..'|avoid', step..'|avoid_until')
  if ARGV[18] ~= '' then
    call('HSET', KEYS[1], step..'|avoid', ARGV[18], step..'|avoid_until', due + tonumber(ARGV[19]))
  end
end
if f[3] ~= 'succeeded' and f[3] ~= 'failed' and f[3] ~= 'cancelled' then
  call('HSET', KEYS[1], 'state', ARGV[5])
end
if ARGV[5] == 'succeeded' or ARGV[5] == 'failed' or ARGV[5] == 'cancelled' then
  call('HSET', KEYS[1], 'ended', now)
  if ARGV[21] == '1' then call('HSET', KEYS[1], 'unwritten', 1) end
  call('EXPIRE', KEYS[1], ARGV[12])
  call('SREM', KEYS[4], run)
  if ARGV[5] == 'succeeded' and call('HEXISTS', KEYS[1], 'allotted') == 1 then note_metrics() end
  leave(KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[8], run, ARGV[5], ARGV[13])
end
if ARGV[14] ~= '' then
  local following = call('HGET', KEYS[1], ARGV[14]..'|state')
  if following ~= 'running' and following ~= 'retrying' and following ~= 'succeeded' then
    -- At the end that is read next: a run that is nearer its end goes first, so that results come early.
    call('RPUSH', KEYS[9], ARGV[15])
  end
end
return 1
"""
)

# Closes a run that has ended on the storage.
# KEYS  1 run hash, 2 active runs, 3 sweep hash, 4 flight, 5 causes, 6 unended sweeps
# ARGV  1 run, 2 state, 3 seconds that an ended run is remembered
CLOSE = (
    _NOW
    + _LEAVE
    + """
call('SREM', KEYS[2], ARGV[1])
leave(KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[1], ARGV[2], '')
local state = call('HGET', KEYS[1], 'state')
if not state or state == 'succeeded' or state == 'failed' or state == 'cancelled' then return end
call('HSET', KEYS[1], 'state', ARGV[2], 'ended', now)
call('EXPIRE', KEYS[1], ARGV[3])
"""
)

# Asks for the end of a run that has not ended.
# KEYS  1 run hash, 2 active runs, 3 sweep hash, 4 flight, 5 causes, 6 unended sweeps
# ARGV  1 seconds that an ended run is remembered, 2 run
# result 'ended' | 'running' (a worker will end it) | 'idle' (no step is running: it is cancelled now)
CANCEL = (
    _NOW
    + _LEAVE
    + """
local all = call('HGETALL', KEYS[1])
local busy = false
for i = 1, #all, 2 do
  if all[i] == 'state' and (all[i + 1] == 'succeeded' or all[i + 1] == 'failed' or all[i + 1] == 'cancelled') then
    return 'ended'
  end
end
for i = 1, #all, 2 do
  local step = string.match(all[i], '^(.*)|state$')
  if step and all[i + 1] == 'running' and number(KEYS[1], call('HGET', KEYS[1], step..'|until') or 0) > now then
    busy = true
  end
end
call('HSET', KEYS[1], 'cancel', now)
if busy then return 'running' end
call('HSET', KEYS[1], 'state', 'cancelled', 'ended', now)
call('EXPIRE', KEYS[1], ARGV[1])
call('SREM', KEYS[2], ARGV[2])
leave(KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[2], 'cancelled', '')
return 'idle'
"""
)

# What the reconciler should enqueue now: due retries and leases that ran out. Each is put off by the given time, so
# that a message that gets lost is repeated and one that works is not.
# KEYS  1 leases, 2 retries
# ARGV  1 ms to put off, 2 most members, 3 ms of a lease and 4 of a delay that are longer than any: such a member is due
# result members '<run> <step>'
DUE = (
    _NOW
    + """
local result = {}
local function put_off(key, least, most)
  for _, member in ipairs(call('ZRANGEBYSCORE', key, least, most, 'LIMIT', 0, ARGV[2])) do
    call('ZADD', key, now + tonumber(ARGV[1]), member)
    result[#result + 1] = member
  end
end
for position, key in ipairs(KEYS) do
  put_off(key, '-inf', now)
  put_off(key, now + tonumber(ARGV[2 + position]), '+inf')
end
return result
"""
)

# Runs in flight that nothing keeps track of: no lease, no retry that waits. Each is looked at once in the given time.
# On the way the runs in flight are counted, should the sweep's hash say another number.
# KEYS  1 flight, 2 leases, 3 retries, 4 sweep hash, 5 what the run hashes' names begin with
# ARGV  1 sweep, 2 ms since the last look, 3 most, then the pipeline's steps
# result 1 when the counts were wrong, or 0; then indexes
UNTRACKED = (
    _NOW
    + _RECOUNT
    + """
local result = {recount(KEYS[4], KEYS[1], KEYS[5])}
local indexes = call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]), 'LIMIT', 0, ARGV[3])
-- Nothing was allotted in the time to come.
for _, index in ipairs(call('ZRANGEBYSCORE', KEYS[1], now + 60000, '+inf', 'LIMIT', 0, ARGV[3])) do
  indexes[#indexes + 1] = index
end
for _, index in ipairs(indexes) do
  call('ZADD', KEYS[1], now, index)
  local tracked = false
  for i = 4, #ARGV do
    local member = ARGV[1]..'.'..index..' '..ARGV[i]
    tracked = tracked or call('ZSCORE', KEYS[2], member) or call('ZSCORE', KEYS[3], member)
  end
  if not tracked then result[#result + 1] = index end
end
return result
"""
)

# How far some of a sweep's runs in flight are.
# KEYS  1 what the run hashes' names begin with
# ARGV  indexes
# result in pairs, how many first steps are published of how many of them
PROGRESS = (
    CALL
    + """
local counts, result = {}, {}
for _, index in ipairs(ARGV) do
  local published = call('HGET', KEYS[1]..index, 'published') or '0'
  counts[published] = (counts[published] or 0) + 1
end
for published, count in pairs(counts) do
  result[#result + 1] = tonumber(published) or 0
  result[#result + 1] = count
end
return result
"""
)

# How many of these runs' steps wait to be tried again.
# KEYS  1 what the run hashes' names begin with
# ARGV  index and step for each
# result how many
RETRYING = (
    CALL
    + """
local retrying = 0
for i = 1, #ARGV, 2 do
  if call('HGET', KEYS[1]..ARGV[i], ARGV[i + 1]..'|state') == 'retrying' then retrying = retrying + 1 end
end
return retrying
"""
)

# One holder at a time: takes the lock or extends it. Its value is `<ms until when> <holder>`: one that says nothing of
# the kind, or of a time that nobody asks for, is nobody's, whether it expires or not.
# KEYS  1 lock
# ARGV  1 holder, 2 ms
# result 1 held | 0 another's
HOLD = (
    _NOW
    + """
local term = tonumber(ARGV[2])
local ends, holder = string.match(call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
if holder and holder ~= ARGV[1] and tonumber(ends) > now and tonumber(ends) <= now + 10 * term then return 0 end
call('SET', KEYS[1], string.format('%d ', now + term) .. ARGV[1], 'PX', ARGV[2])
return 1
"""
)

# Notes that the server is complete, unless it was emptied since that was begun.
# KEYS  1 this filling, 2 server
# ARGV  1 run id of the server when it was begun
# result 1 noted | 0 it was emptied
NOTE_COMPLETE = (
    CALL
    + """
if call('DEL', KEYS[1]) == 0 then return 0 end
call('SET', KEYS[2], ARGV[1])
return 1
"""
)

# Lets go of such a lock, if it is still this holder's.
# KEYS  1 lock
# ARGV  1 holder
LET_GO = (
    CALL
    + """
if string.match(call('GET', KEYS[1]) or '', '^%d+ (.*)$') == ARGV[1] then call('DEL', KEYS[1]) end
"""
)
