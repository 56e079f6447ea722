-- Claims a lease, the right to execute one attempt.
-- KEYS   1 run_key      pq1:run:<run>       hash
--        2 leases_key   pq1:leases          sorted set: `<run> <step>` by ms of expiry
--        3 token_key    pq1:token           the last fencing token
--        4 retries_key  pq1:retries         sorted set: `<run> <step>` by ms when it is due
--        5 active_key   pq1:active          set: runs in flight
--        6 sweep_key    pq1:sweep:<sweep>   hash
--        7 held_key     pq1:held:<sweep>    set: indexes of runs that wait for their paused sweep to be resumed
--        8 flight_key   pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
-- ARGV   1 run, 2 step, 3 holder (unique per claim, so that a repeated call is recognised), 4 worker,
--        5 lease ms, 6 max infrastructure deaths, 7 attempts that the storage knows of,
--        8 '1' when this worker also takes steps that it should leave to others, 9 ms until such a step is due again
-- result {'run', attempt, token, failures, 1 when the sweep should take more, times handed on, where it failed or ''}
--        | {'published', ms since, or ''} | {'elsewhere', worker} | {'cancelled'}
--        | {'ended', state, ms since, or '' when unknown, or 0 when only the index knows} | {'waiting', due ms}
--        | {'exhausted', deaths, worker, message of the last death or '' when its lease expired} | {'paused'}
--        | {'avoided', where it failed}
local run_key, leases_key, token_key, retries_key, active_key, sweep_key, held_key, flight_key = unpack(KEYS)
local run, step, holder, worker, lease_ms, max_deaths, known_attempts, is_for_anybody, avoided_ms = unpack(ARGV)
local now, micros = clock()
local MAX_COUNTER = 9e15

local run_fields, made = read_run(
  run_key, {'state', 'cancel', 'ended', 'unwritten'},
  step, {'state', 'holder', 'until', 'attempts', 'deaths', 'token', 'failures', 'worker',
         'due', 'message', 'handed', 'avoid', 'avoid_until', 'seconds', 'started'})
local attempts = math.max(whole(run_key, made.attempts or 0), tonumber(known_attempts))
local deaths = whole(run_key, made.deaths or 0)
local failures, handed = whole(run_key, made.failures or 0), whole(run_key, made.handed or 0)
if made.state == 'succeeded' then
  -- The worker that recorded the success also wrote the duration.
  local since = made.seconds and math.max(0, now - number(run_key, made.started or now))
  return {'published', since and string.format('%d', since) or ''}
end
if ENDED[run_fields.state] then
  local since = run_fields.ended and now - number(run_key, run_fields.ended)
  if run_fields.unwritten then since = 0 end
  return {'ended', run_fields.state, since and string.format('%d', since) or ''}
end
if made.state == 'running' then
  if made.holder == holder then return {'run', attempts, made.token, failures, 0, handed, made.avoid or ''} end
  if number(run_key, made['until'] or 0) > now then return {'elsewhere', made.worker or ''} end
  deaths = deaths + 1
end
if tonumber(run_fields.cancel) then return {'cancelled'} end
if deaths >= tonumber(max_deaths) then
  call('HSET', run_key, step..'|deaths', deaths)
  return {'exhausted', deaths, made.worker or '', made.state == 'retrying' and made.message or ''}
end
if made.state == 'retrying' and number(run_key, made.due or 0) > now then return {'waiting', made.due} end
local is_avoided = made.avoid and number(run_key, made.avoid_until or 0) > now
if made.state == 'retrying' and is_for_anybody == '' and is_avoided then
  local host = string.match(worker, '@.*$')
  for one in string.gmatch(made.avoid, '[^\n]+') do
    if one == worker or one == host then
      call('ZADD', retries_key, now + tonumber(avoided_ms), run..' '..step)
      return {'avoided', made.avoid}
    end
  end
end
if call('HGET', sweep_key, 'state') == 'paused' then
  call('SADD', held_key, index_of(run))
  call('ZREM', retries_key, run..' '..step)
  begin(run_key, sweep_key, flight_key, run)
  return {'paused'}
end
local token, last = micros, tonumber(call('GET', token_key) or '')
-- Discard a counter that is too large for a Lua number to count exactly.
if last and last < MAX_COUNTER and last >= tonumber(micros) then token = string.format('%.0f', last + 1) end
call('SET', token_key, token)
local expiry = now + tonumber(lease_ms)
call('HSET', run_key, 'state', 'running', step..'|state', 'running', step..'|holder', holder,
           step..'|worker', worker, step..'|attempts', attempts + 1, step..'|deaths', deaths,
           step..'|token', token, step..'|until', expiry, step..'|started', now)
call('HSETNX', run_key, 'created', now)
call('HSETNX', run_key, 'started', now)
call('PERSIST', run_key)
call('ZADD', leases_key, expiry, run..' '..step)
call('ZREM', retries_key, run..' '..step)
call('SADD', active_key, run)
local wants_more = begin(run_key, sweep_key, flight_key, run)
return {'run', attempts + 1, token, failures, wants_more, handed, made.avoid or ''}
