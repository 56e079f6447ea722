-- Notes that the server is complete, unless it was emptied since that was begun.
-- KEYS   1 filling_key  pq1:filling:<mark>  is there until the server is emptied
--        2 server_key   pq1:server          id of the server that was last made complete
-- ARGV   1 run id of the server when it was begun
-- result 1 noted | 0 it was emptied
local filling_key, server_key = unpack(KEYS)
local server = unpack(ARGV)
if call('DEL', filling_key) == 0 then return 0 end
call('SET', server_key, server)
return 1
