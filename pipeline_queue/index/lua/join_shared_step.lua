-- Asks to execute a shared step: one run leads; the script parks the others until the step has ended.
-- KEYS   1 leaders_key   pq1:leaders:<sweep, or *>               hash: shared step -> the run that executes it
--        2 parked_key    pq1:parked:<sweep, or *>:<shared step>  set: runs parked for it
--        3 runs          pq1:run:                                prefix of the names of all run hashes
--        4 failures_key  pq1:shared-failures:<sweep>             hash: shared step -> message of its failure
-- ARGV   1 run, 2 step, 3 shared step (`<step>-<identity>`), 4 seconds to keep this
-- result {'lead'} | {'parked', leading run} | {'failed', message}
local leaders_key, parked_key, runs, failures_key = unpack(KEYS)
local run, step, shared_step, keep_seconds = unpack(ARGV)
local failed = call('HGET', failures_key, shared_step)
if failed then return {'failed', failed} end
local leader = call('HGET', leaders_key, shared_step)
if leader and leader ~= run then
  local its_run = read(runs..leader, 'state', 'cancel')
  local _, its_step = read_run(runs..leader, {}, step, {'state', 'message'})
  -- The leader's failure is recorded but not yet released. Runs of other sweeps try the step themselves.
  local is_of_this_sweep = string.match(leader, '^(.*)%.') == string.match(run, '^(.*)%.')
  if its_run.state == 'failed' and its_step.state == 'failed' and is_of_this_sweep then
    return {'failed', its_step.message}
  end
  local is_under_way = (its_run.state == 'queued' or its_run.state == 'running') and not its_run.cancel
  if is_under_way and its_step.state ~= 'succeeded' then
    call('SADD', parked_key, run)
    call('EXPIRE', parked_key, keep_seconds)
    return {'parked', leader}
  end
end
call('HSET', leaders_key, shared_step, run)
call('EXPIRE', leaders_key, keep_seconds)
call('SREM', parked_key, run)
return {'lead'}
