-- Removes a key that is of another type than ours, unless it has become one of ours meanwhile.
-- KEYS   1 key  pq1:<any>, or a queue's list
-- ARGV   1 a command that its own type answers, then that command's arguments after the key
-- result 1 removed | 0 it is of its type
local key = unpack(KEYS)
local command = ARGV[1]
local reply = redis.pcall(command, key, unpack(ARGV, 2))
if type(reply) ~= 'table' or not reply.err or not string.find(reply.err, 'WRONGTYPE', 1, true) then return 0 end
redis.call('DEL', key)
return 1
