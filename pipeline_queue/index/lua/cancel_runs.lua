-- Cancels the unstarted runs in flight of a cancelled sweep, and requests the cancellation of its running ones. The
-- caller passes them in batches, so that other clients do not wait long for the server.
-- KEYS   1 sweep_key   pq1:sweep:<sweep>   hash
--        2 flight_key  pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 causes_key  pq1:causes:<sweep>  hash: cause -> failed runs, and an example of each
--        4 sweeps_key  pq1:sweeps          set: sweeps that have not ended
--        5 active_key  pq1:active          set: runs in flight
--        6 runs        pq1:run:<sweep>.    prefix of the names of its run hashes
-- ARGV   1 sweep, 2 seconds to remember an ended run, then indexes
-- result number of these runs that a worker has yet to end
local sweep_key, flight_key, causes_key, sweeps_key, active_key, runs = unpack(KEYS)
local sweep, remember_seconds = unpack(ARGV, 1, 2)
local now = clock()
local busy = 0
for i = 3, #ARGV do
  local index = ARGV[i]
  local key, run = runs .. index, sweep .. '.' .. index
  -- A run that has ended since the caller listed it is no longer in flight.
  if call('ZSCORE', flight_key, index) then
    call('HSET', key, 'cancel', now)
    if call('HGET', key, 'state') == 'queued' then
      call('HSET', key, 'state', 'cancelled', 'ended', now)
      call('EXPIRE', key, remember_seconds)
      call('SREM', active_key, run)
      leave(now, key, sweep_key, flight_key, causes_key, sweeps_key, run, 'cancelled', '')
    else
      busy = busy + 1
    end
  end
end
return busy
