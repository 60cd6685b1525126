for _, name in ipairs(redis.call('ZRANGE', age, 0, -1)) do
  redis.call('UNLINK', begin .. name)
end
redis.call('UNLINK', age, ends, meta)
return {'ok', '1'}
