-- ARGV[5]: the value. ARGV[6]: its time to live in microseconds, '' for ever.
local bytes = #key + ENTRY + #ARGV[5]
if bytes > limit then return {'large', whole(bytes)} end
expire()
forget(key)
local ttl = tonumber(ARGV[6])
redis.call('SET', value, ARGV[5])
if ttl then
  redis.call('PEXPIRE', value, whole(math.ceil(ttl / 1000)))
  book(bytes, whole(now + ttl))
else
  book(bytes)
end
make_room()
settle()
return {'ok', '1'}
