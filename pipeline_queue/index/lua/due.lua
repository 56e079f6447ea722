-- Returns what the reconciler should enqueue now: due retries and expired leases. Postpones each by the given time, so
-- that the reconciler sends a lost message again, but does not duplicate one that arrives.
-- KEYS   1 leases_key   pq1:leases   sorted set: `<run> <step>` by ms of expiry
--        2 retries_key  pq1:retries  sorted set: `<run> <step>` by ms when it is due
-- ARGV   1 ms to postpone, 2 max members, 3 max ms of a lease, 4 max ms of a retry's delay;
--        a member that lies further ahead is due at once
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
