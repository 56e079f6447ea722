-- Deletes a key of the wrong type, unless it has been replaced by one of the right type in the meantime.
-- KEYS   1 key  pq1:<any>, or a queue's list
-- ARGV   1 a command that succeeds only on the right type, then that command's arguments after the key
-- result 1 deleted | 0 the key has the right type
local key = unpack(KEYS)
local command = ARGV[1]
local reply = redis.pcall(command, key, unpack(ARGV, 2))
if type(reply) ~= 'table' or not reply.err or not string.find(reply.err, 'WRONGTYPE', 1, true) then return 0 end
redis.call('DEL', key)
return 1
