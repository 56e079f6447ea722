-- Reports the progress of some of a sweep's runs in flight.
-- KEYS   1 runs  pq1:run:<sweep>.  prefix of the names of its run hashes
-- ARGV   indexes
-- result pairs: number of first steps published, number of these runs that have published so many
local runs = unpack(KEYS)
local counts, result = {}, {}
for _, index in ipairs(ARGV) do
  local published = call('HGET', runs..index, 'published') or '0'
  counts[published] = (counts[published] or 0) + 1
end
for published, count in pairs(counts) do
  result[#result + 1] = tonumber(published) or 0
  result[#result + 1] = count
end
return result
