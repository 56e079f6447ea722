"""The Lua scripts of the ledger: each decides and writes in one atomic step, on Redis' own clock.

A run's hash holds `state`, `created` (ms), `cancel`, and for every step that was ever claimed the fields
`<step>|state`, `|attempts`, `|failures`, `|deaths`, `|holder`, `|token`, `|until` (ms), `|worker`,
`|started` (ms), `|seconds`, `|exit`, `|message`, `|due` (ms). Times are milliseconds since 1970 by Redis.
"""

from __future__ import annotations

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# The right to execute one attempt.
# KEYS  1 run hash, 2 leases (sorted set: expiry ms), 3 fencing counter
# ARGV  1 run, 2 step, 3 holder (unique per claim, so that a repeated call is recognised), 4 worker,
#       5 lease ms, 6 most infrastructure deaths, 7 attempts that the storage knows of
# result {'run', attempt, token, failures} | {'published'} | {'elsewhere', worker} | {'cancelled'}
#        | {'ended', state} | {'waiting', due ms} | {'exhausted', deaths, worker}
CLAIM = (
    _NOW
    + """
local run, step, holder, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local f = redis.call('HMGET', KEYS[1], 'state', 'cancel', step..'|state', step..'|holder', step..'|until',
                     step..'|attempts', step..'|deaths', step..'|token', step..'|failures', step..'|worker',
                     step..'|due')
local attempts, deaths = math.max(tonumber(f[6] or 0), tonumber(ARGV[7])), tonumber(f[7] or 0)
if f[3] == 'succeeded' then return {'published'} end
if f[1] == 'succeeded' or f[1] == 'failed' or f[1] == 'cancelled' then return {'ended', f[1]} end
if f[3] == 'running' then
  if f[4] == holder then return {'run', attempts, f[8], tonumber(f[9] or 0)} end
  if tonumber(f[5]) > now then return {'elsewhere', f[10]} end
  deaths = deaths + 1
end
if f[2] then return {'cancelled'} end
if deaths >= tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[1], step..'|deaths', deaths)
  return {'exhausted', deaths, f[10] or ''}
end
if f[3] == 'retrying' and tonumber(f[11]) > now then return {'waiting', f[11]} end
local micros = string.format('%.0f', clock[1] * 1000000 + clock[2])
local last = redis.call('GET', KEYS[3])
local token = micros
if last and tonumber(last) >= tonumber(micros) then token = string.format('%.0f', tonumber(last) + 1) end
redis.call('SET', KEYS[3], token)
local expiry = now + tonumber(ARGV[5])
redis.call('HSET', KEYS[1], 'state', 'running', step..'|state', 'running', step..'|holder', holder,
           step..'|worker', worker, step..'|attempts', attempts + 1, step..'|deaths', deaths,
           step..'|token', token, step..'|until', expiry, step..'|started', now)
redis.call('HSETNX', KEYS[1], 'created', now)
redis.call('HSETNX', KEYS[1], 'started', now)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], expiry, run..' '..step)
return {'run', attempts + 1, token, tonumber(f[9] or 0)}
"""
)

# Extends leases that are still held.
# KEYS  1 leases, 2.. run hashes, one per lease
# ARGV  1 lease ms, then run, step, token for each
# result one of 'held' | 'cancelled' (held, but an end is asked for) | 'lost' for each, in order
RENEW = (
    _NOW
    + """
local result = {}
local expiry = now + tonumber(ARGV[1])
for i = 2, #KEYS do
  local run, step, token = ARGV[3 * i - 4], ARGV[3 * i - 3], ARGV[3 * i - 2]
  local f = redis.call('HMGET', KEYS[i], step..'|token', step..'|state', 'cancel')
  if f[1] ~= token or f[2] ~= 'running' then
    result[#result + 1] = 'lost'
  else
    redis.call('HSET', KEYS[i], step..'|until', expiry)
    redis.call('ZADD', KEYS[1], expiry, run..' '..step)
    result[#result + 1] = f[3] and 'cancelled' or 'held'
  end
end
return result
"""
)

# Records how an attempt ended, or with token '*' what the storage has decided already, whoever holds the lease.
# KEYS  1 run hash, 2 leases, 3 retries (sorted set: due ms), 4 active runs
# ARGV  1 run, 2 step, 3 token, 4 step state after it (succeeded | failed | retrying | cancelled | waiting),
#       5 run state after it, 6 failures added, 7 deaths added, 8 seconds, 9 exit code or '', 10 message,
#       11 delay of the retry in ms, 12 seconds that an ended run is remembered
# result 1 recorded | 0 the lease is another's by now, nothing was written
RECORD = (
    _NOW
    + """
local run, step, state = ARGV[1], ARGV[2], ARGV[4]
local f = redis.call('HMGET', KEYS[1], step..'|token', step..'|state', 'state')
if ARGV[3] ~= '*' and (f[1] ~= ARGV[3] or f[2] ~= 'running') then
  if f[1] == ARGV[3] and f[2] == state then return 1 end
  return 0
end
redis.call('ZREM', KEYS[2], run..' '..step)
redis.call('ZREM', KEYS[3], run..' '..step)
redis.call('HSET', KEYS[1], step..'|state', state, step..'|seconds', ARGV[8], step..'|exit', ARGV[9],
           step..'|message', ARGV[10])
redis.call('HINCRBY', KEYS[1], step..'|failures', ARGV[6])
redis.call('HINCRBY', KEYS[1], step..'|deaths', ARGV[7])
if state == 'retrying' then
  local due = now + tonumber(ARGV[11])
  redis.call('HSET', KEYS[1], step..'|due', due)
  redis.call('ZADD', KEYS[3], due, run..' '..step)
end
if f[3] ~= 'succeeded' and f[3] ~= 'failed' and f[3] ~= 'cancelled' then
  redis.call('HSET', KEYS[1], 'state', ARGV[5])
end
if ARGV[5] == 'succeeded' or ARGV[5] == 'failed' or ARGV[5] == 'cancelled' then
  redis.call('HSET', KEYS[1], 'ended', now)
  redis.call('EXPIRE', KEYS[1], ARGV[12])
  redis.call('SREM', KEYS[4], run)
end
return 1
"""
)

# Asks for the end of a run that has not ended.
# KEYS  1 run hash, 2 active runs
# ARGV  1 seconds that an ended run is remembered, 2 run
# result 'ended' | 'running' (a worker will end it) | 'idle' (no step is running: it is cancelled now)
CANCEL = (
    _NOW
    + """
local all = redis.call('HGETALL', KEYS[1])
local busy = false
for i = 1, #all, 2 do
  if all[i] == 'state' and (all[i + 1] == 'succeeded' or all[i + 1] == 'failed' or all[i + 1] == 'cancelled') then
    return 'ended'
  end
end
for i = 1, #all, 2 do
  local step = string.match(all[i], '^(.*)|state$')
  if step and all[i + 1] == 'running' and tonumber(redis.call('HGET', KEYS[1], step..'|until')) > now then
    busy = true
  end
end
redis.call('HSET', KEYS[1], 'cancel', now)
if busy then return 'running' end
redis.call('HSET', KEYS[1], 'state', 'cancelled', 'ended', now)
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[2])
return 'idle'
"""
)

# What the reconciler should ring now: due retries and leases that ran out. Each is put off by the given time, so
# that a ring that gets lost is repeated and one that works is not.
# KEYS  1 leases, 2 retries
# ARGV  1 ms to put off, 2 most members
# result members '<run> <step>'
DUE = (
    _NOW
    + """
local result = {}
for _, key in ipairs(KEYS) do
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    redis.call('ZADD', key, now + tonumber(ARGV[1]), member)
    result[#result + 1] = member
  end
end
return result
"""
)

# One holder at a time: takes the lock or extends it.
# KEYS  1 lock
# ARGV  1 holder, 2 ms
# result 1 held | 0 another's
HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
