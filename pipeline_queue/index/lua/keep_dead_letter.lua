-- Keeps a rejected message. A row is the JSON of `v`, `at` (Unix seconds by Redis), `reason`, `queue`, `worker`,
-- `bytes` (the message's size) and `payload` (its beginning).
-- KEYS   1 dead_key  pq1:dead  list, newest first
-- ARGV   1 the row's JSON without `at` and its closing brace, 2 max rows to keep
-- result number of rows kept now
local dead_key = unpack(KEYS)
local row, max_rows = unpack(ARGV)
local now = clock()
call('LPUSH', dead_key, row .. ', "at": ' .. math.floor(now / 1000) .. '}')
call('LTRIM', dead_key, 0, max_rows - 1)
return call('LLEN', dead_key)
