-- Counts the given steps of runs that wait for a retry.
-- KEYS   1 runs  pq1:run:<sweep>.  prefix of the names of its run hashes
-- ARGV   index and step for each
-- result number of retrying steps
local runs = unpack(KEYS)
local retrying = 0
for i = 1, #ARGV, 2 do
  if call('HGET', runs..ARGV[i], ARGV[i + 1]..'|state') == 'retrying' then retrying = retrying + 1 end
end
return retrying
