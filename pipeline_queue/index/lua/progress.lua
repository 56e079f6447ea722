-- How far some of a sweep's runs in flight are.
-- KEYS   1 runs  pq1:run:<sweep>.  what the names of its run hashes begin with
-- ARGV   indexes
-- result in pairs, how many first steps are published of how many of them
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
