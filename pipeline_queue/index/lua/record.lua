-- Records how an attempt ended, and puts the message of the run's next step on its queue, unless that step is running,
-- retrying or done. With token '*', records what the storage has already decided, whoever holds the lease.
-- KEYS   1 run_key      pq1:run:<run>                          hash
--        2 leases_key   pq1:leases                             sorted set: `<run> <step>` by ms of expiry
--        3 retries_key  pq1:retries                            sorted set: `<run> <step>` by ms when it is due
--        4 active_key   pq1:active                             set: runs in flight
--        5 sweep_key    pq1:sweep:<sweep>                      hash
--        6 flight_key   pq1:flight:<sweep>                     sorted set: indexes in flight, by ms of allotment
--        7 causes_key   pq1:causes:<sweep>                     hash: cause -> failed runs, and an example of each
--        8 sweeps_key   pq1:sweeps                             set: sweeps that have not ended
--        9 queue_list   <queue>, or <queue>\x06\x16<priority>  list of the next message
-- ARGV   1 run, 2 step, 3 token, 4 step state after it (succeeded | failed | retrying | cancelled | waiting),
--        5 run state after it, 6 failures added, 7 deaths added, 8 seconds, 9 exit code or '', 10 message,
--        11 delay of the retry in ms, 12 seconds to remember an ended run, 13 cause of a failure, for counting,
--        14 next step or '', 15 its message, 16 number of the run's first steps that are published, or 0,
--        17 times handed on added, 18 workers and hosts that leave a retry to others, one per line, 19 for how many ms,
--        20 max metrics whose span a sweep keeps (`<lowest> <index> <highest> <index> <runs> <place>`),
--        21 1 when this end is not on the storage, then name and value of each metric of a succeeded run
-- result 1 recorded | 0 another claim now has the lease; nothing was written
local run_key, leases_key, retries_key, active_key = unpack(KEYS, 1, 4)
local sweep_key, flight_key, causes_key, sweeps_key, queue_list = unpack(KEYS, 5, 9)
local run, step, token, step_state, run_state, failures, deaths, seconds, exit_code, message = unpack(ARGV, 1, 10)
local retry_ms, remember_seconds, cause, next_step, next_message, published = unpack(ARGV, 11, 16)
local handed, avoid, avoid_ms, max_metrics, is_unwritten = unpack(ARGV, 17, 21)
local now = clock()
-- Max bytes of the list of a step's durations that a sweep keeps.
local MAX_TOOK_BYTES = 160

local function note_metrics()
  if call('EXISTS', sweep_key) == 0 then return end
  call('HINCRBY', sweep_key, 'measured', 1)
  local index = index_of(run)
  -- Keep the numbers as text: Lua would write them with fewer digits.
  for i = 22, #ARGV, 2 do
    local name, value = 'metric|'..ARGV[i], ARGV[i + 1]
    local low, low_at, high, high_at, runs, place =
      string.match(call('HGET', sweep_key, name) or '', '^(%S+) (%d+) (%S+) (%d+) (%d+) (%d+)$')
    if not low or not tonumber(low) or not tonumber(high) then
      place = call('HGET', sweep_key, 'metrics') or '0'
      if whole(sweep_key, place) >= tonumber(max_metrics) then return end
      call('HINCRBY', sweep_key, 'metrics', 1)
      low, low_at, high, high_at, runs = value, index, value, index, '0'
    end
    if tonumber(value) < tonumber(low) then low, low_at = value, index end
    if tonumber(value) > tonumber(high) then high, high_at = value, index end
    runs = string.format('%d', runs + 1)
    call('HSET', sweep_key, name, table.concat({low, low_at, high, high_at, runs, place}, ' '))
  end
end

local run_fields, before = read_run(run_key, {'state', 'published'}, step, {'token', 'state', 'started'})
if token ~= '*' and (before.token ~= token or before.state ~= 'running') then
  if before.token == token and before.state == step_state then return 1 end
  return 0
end
call('ZREM', leases_key, run..' '..step)
call('ZREM', retries_key, run..' '..step)
call('HSET', run_key, step..'|state', step_state, step..'|seconds', seconds, step..'|exit', exit_code,
           step..'|message', message)
if tonumber(published) > (tonumber(run_fields.published) or 0) then call('HSET', run_key, 'published', published) end
if step_state == 'succeeded' and token ~= '*' and before.started and call('EXISTS', sweep_key) == 1 then
  local took = string.format('%d', math.max(0, now - number(run_key, before.started)))
  took = took..' '..(call('HGET', sweep_key, 'took|'..step) or '')
  if #took > MAX_TOOK_BYTES then took = string.match(string.sub(took, 1, MAX_TOOK_BYTES), '^(.*) %d*$') end
  call('HSET', sweep_key, 'took|'..step, took)
end
call('HINCRBY', run_key, step..'|failures', failures)
call('HINCRBY', run_key, step..'|deaths', deaths)
if step_state == 'retrying' then
  local due = now + tonumber(retry_ms)
  call('HSET', run_key, step..'|due', due)
  call('ZADD', retries_key, due, run..' '..step)
  if tonumber(handed) > 0 then call('HINCRBY', run_key, step..'|handed', handed) end
  call('HDEL', run_key, step..'|avoid', step..'|avoid_until')
  if avoid ~= '' then
    call('HSET', run_key, step..'|avoid', avoid, step..'|avoid_until', due + tonumber(avoid_ms))
  end
end
if not ENDED[run_fields.state] then call('HSET', run_key, 'state', run_state) end
if ENDED[run_state] then
  call('HSET', run_key, 'ended', now)
  if is_unwritten == '1' then call('HSET', run_key, 'unwritten', 1) end
  call('EXPIRE', run_key, remember_seconds)
  call('SREM', active_key, run)
  if run_state == 'succeeded' and call('HEXISTS', run_key, 'allotted') == 1 then note_metrics() end
  leave(now, run_key, sweep_key, flight_key, causes_key, sweeps_key, run, run_state, cause)
end
if next_step ~= '' then
  local following = call('HGET', run_key, next_step..'|state')
  if following ~= 'running' and following ~= 'retrying' and following ~= 'succeeded' then
    -- Workers read from this end of the list: a run nearer its end goes first, so that results come early.
    call('RPUSH', queue_list, next_message)
  end
end
return 1
