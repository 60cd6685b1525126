-- ARGV[5]: the value.
local found = kind()
if found == 'string' then return {'wrong', 'a plain value'} end
if not found then forget(key) end
local before = tonumber(redis.call('HGET', meta, 'b:' .. key) or (#key + ENTRY))
local bytes = before + #ARGV[5] + ENTRY
if bytes > limit then return {'large', whole(bytes)} end
expire()
local length = redis.call('RPUSH', value, ARGV[5])
if found then
  redis.call('HSET', meta, 'b:' .. key, bytes)
  redis.call('HINCRBY', meta, 'bytes', bytes - before)
else
  book(bytes)
end
make_room()
settle()
return {'ok', whole(length)}
