-- ARGV[5], ARGV[6]: the first and the last place.
local found = kind()
if not found then return {'ok'} end
if found == 'string' then return {'wrong', 'a plain value'} end
local list = redis.call('LRANGE', value, ARGV[5], ARGV[6])
table.insert(list, 1, 'ok')
return list
