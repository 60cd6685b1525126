-- ARGV[5]: how much.
local found = kind()
if found == 'list' then return {'wrong', 'a list'} end
local bytes = #key + ENTRY + 20
if bytes > limit then return {'large', whole(bytes)} end
if found then
  local sum = redis.pcall('INCRBY', value, ARGV[5])
  if type(sum) == 'table' and sum.err then
    if string.find(sum.err, 'overflow', 1, true) then return {'wrong', 'too large for the sum'} end
    return {'wrong', 'another value'}
  end
else
  forget(key)
  redis.call('SET', value, ARGV[5])
end
expire()
-- As text: a number would come back through Lua's, which has 53 bits.
local sum = redis.call('GET', value)
book(#key + ENTRY + #sum, redis.call('ZSCORE', ends, key))
make_room()
settle()
return {'ok', sum}
