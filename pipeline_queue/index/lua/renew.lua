-- Extends leases that are still held. After the server was flushed, restores a lease unless the step has a state, which
-- a newer claim would have written. A run with a restored lease leads its shared step again, unless another run does.
-- KEYS   1 leases_key  pq1:leases  sorted set: `<run> <step>` by ms of expiry
--        2 active_key  pq1:active  set: runs in flight
--        3.. pq1:run:<run>, one per lease
-- ARGV   1 lease ms, 2 worker, 3 seconds to keep a lead, then run, step, token, attempt, failures, leaders (hash)
--        or '', shared step for each
-- result one of 'held' | 'cancelled' (held, but cancellation was requested) | 'lost' for each, in order
local leases_key, active_key = unpack(KEYS, 1, 2)
local lease_ms, worker, keep_seconds = unpack(ARGV, 1, 3)
local now = clock()
local result = {}
local expiry = now + tonumber(lease_ms)
for i = 3, #KEYS do
  local at = 7 * i - 17
  local run, step, token = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local run_fields, held = read_run(KEYS[i], {'state', 'cancel'}, step, {'token', 'state'})
  local over = ENDED[run_fields.state]
  if not held.token and not held.state and not over then
    call('HSET', KEYS[i], 'state', 'running', step..'|state', 'running', step..'|token', token,
               step..'|worker', worker, step..'|attempts', ARGV[at + 3], step..'|failures', ARGV[at + 4],
               step..'|started', now)
    call('HSETNX', KEYS[i], 'created', now)
    call('SADD', active_key, run)
    if ARGV[at + 5] ~= '' then
      call('HSETNX', ARGV[at + 5], ARGV[at + 6], run)
      call('EXPIRE', ARGV[at + 5], keep_seconds)
    end
    held = {token = token, state = 'running'}
  end
  if held.token ~= token or held.state ~= 'running' then
    result[#result + 1] = 'lost'
  else
    call('HSET', KEYS[i], step..'|until', expiry)
    call('ZADD', leases_key, expiry, run..' '..step)
    result[#result + 1] = tonumber(run_fields.cancel) and 'cancelled' or 'held'
  end
end
return result
