-- Releases a shared step that has ended, and returns the parked runs for the caller to enqueue.
-- KEYS   1 leaders_key   pq1:leaders:<sweep, or *>               hash: shared step -> the run that executes it
--        2 parked_key    pq1:parked:<sweep, or *>:<shared step>  set: runs parked for it
--        3 failures_key  pq1:shared-failures:<sweep>             hash: shared step -> message of its failure
-- ARGV   1 shared step, 2 message of its failure, or '', 3 seconds to keep the message
-- result the parked runs
local leaders_key, parked_key, failures_key = unpack(KEYS)
local shared_step, message, keep_seconds = unpack(ARGV)
call('HDEL', leaders_key, shared_step)
if message ~= '' then
  call('HSET', failures_key, shared_step, message)
  call('EXPIRE', failures_key, keep_seconds)
end
local parked = call('SMEMBERS', parked_key)
call('DEL', parked_key)
return parked
