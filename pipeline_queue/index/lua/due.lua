-- What the reconciler should enqueue now: due retries and leases that ran out. Each is put off by the given time, so
-- that a message that gets lost is repeated and one that works is not.
-- KEYS   1 leases_key   pq1:leases   sorted set: `<run> <step>` by ms of expiry
--        2 retries_key  pq1:retries  sorted set: `<run> <step>` by ms when it is due
-- ARGV   1 ms to put off, 2 most members, 3 ms of a lease and 4 of a delay that are longer than any:
--        such a member is due
-- result members '<run> <step>'
local leases_key, retries_key = unpack(KEYS)
local put_off_ms, max_members = unpack(ARGV)
local now = clock()
local result = {}
local function put_off(key, least, most)
  for _, member in ipairs(call('ZRANGEBYSCORE', key, least, most, 'LIMIT', 0, max_members)) do
    call('ZADD', key, now + tonumber(put_off_ms), member)
    result[#result + 1] = member
  end
end
for position, key in ipairs(KEYS) do
  put_off(key, '-inf', now)
  put_off(key, now + tonumber(ARGV[2 + position]), '+inf')
end
return result
