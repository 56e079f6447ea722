-- Marks the server as complete, unless it has been flushed since the filling began.
-- KEYS   1 filling_key  pq1:filling:<mark>  exists until the server is flushed
--        2 server_key   pq1:server          id of the server that was last made complete
-- ARGV   1 run id of the server when the filling began
-- result 1 marked | 0 the server was flushed
local filling_key, server_key = unpack(KEYS)
local server = unpack(ARGV)
if call('DEL', filling_key) == 0 then return 0 end
call('SET', server_key, server)
return 1
