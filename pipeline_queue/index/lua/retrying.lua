-- How many of these runs' steps wait to be tried again.
-- KEYS   1 runs  pq1:run:<sweep>.  what the names of its run hashes begin with
-- ARGV   index and step for each
-- result how many
local runs = unpack(KEYS)
local retrying = 0
for i = 1, #ARGV, 2 do
  if call('HGET', runs..ARGV[i], ARGV[i + 1]..'|state') == 'retrying' then retrying = retrying + 1 end
end
return retrying
