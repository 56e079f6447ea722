-- Sets the counts and cursor of a known sweep to those of the storage: a server that came back with older data would
-- allot runs a second time and count them twice. The script recounts the runs in flight from the index itself.
-- KEYS   1 sweep_key     pq1:sweep:<sweep>   hash
--        2 flight_key    pq1:flight:<sweep>  sorted set: indexes in flight, by ms of allotment
--        3 reopened_key  pq1:redo:<sweep>    bitmap: indexes to be allotted again
--        4 runs          pq1:run:<sweep>.    prefix of the names of its run hashes
-- ARGV   1 cursor, 2 succeeded, 3 failed, 4 cancelled, then indexes of ended runs that are still in flight here
-- result 1 done | 0 the sweep is unknown or has ended
local sweep_key, flight_key, reopened_key, runs = unpack(KEYS)
local cursor, succeeded, failed, cancelled = unpack(ARGV, 1, 4)
if call('EXISTS', sweep_key) == 0 or call('HEXISTS', sweep_key, 'ended') == 1 then return 0 end
for i = 5, #ARGV do
  call('HDEL', runs .. ARGV[i], 'allotted')
  call('ZREM', flight_key, ARGV[i])
end
recount(sweep_key, flight_key, runs)
cursor = math.max(tonumber(cursor), whole(sweep_key, call('HGET', sweep_key, 'cursor') or 0))
call('HSET', sweep_key, 'cursor', string.format('%d', cursor), 'succeeded', succeeded, 'failed', failed,
           'cancelled', cancelled)
return 1
