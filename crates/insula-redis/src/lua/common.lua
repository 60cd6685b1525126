-- What the scripts of the cache share.
-- KEYS: who is how old, who ends when, how many bytes each has, the value.
-- ARGV: the time ('' is the server's), what names of values begin with, the key, the limit in bytes, then the script's own.
local age, ends, meta, value = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local begin, key, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local ENTRY = 64

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- Numbers beyond 14 digits lose some in Lua's own notation.
local function whole(number)
  return string.format('%.0f', number)
end

local function forget(name)
  local bytes = redis.call('HGET', meta, 'b:' .. name)
  redis.call('UNLINK', begin .. name)
  if bytes then
    redis.call('HDEL', meta, 'b:' .. name)
    redis.call('HINCRBY', meta, 'bytes', -bytes)
  end
  -- Also where the server has evicted the sizes: what looks for room must come to an end.
  redis.call('ZREM', age, name)
  redis.call('ZREM', ends, name)
end

-- 'string' or 'list'; nil when there is nothing. What is not in the index is not there: the server may have evicted the index.
local function kind()
  if not redis.call('ZSCORE', age, key) then return nil end
  local over = redis.call('ZSCORE', ends, key)
  if over and tonumber(over) <= now then return nil end
  local found = redis.call('TYPE', value).ok
  if found == 'none' then return nil end
  return found
end

-- Drops what has expired, some of it at a time: each write adds one.
local function expire()
  -- An index that was evicted in part says nothing right.
  if redis.call('EXISTS', age) == 0 then redis.call('UNLINK', ends, meta) end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', whole(now), 'LIMIT', 0, 64)) do
    forget(name)
  end
end

-- Writes the entry into the index as the youngest.
local function book(bytes, over)
  local before = redis.call('HGET', meta, 'b:' .. key) or 0
  redis.call('HSET', meta, 'b:' .. key, bytes)
  redis.call('HINCRBY', meta, 'bytes', bytes - before)
  redis.call('ZADD', age, redis.call('HINCRBY', meta, 'drawn', 1), key)
  if over then redis.call('ZADD', ends, over, key) else redis.call('ZREM', ends, key) end
end

-- Drops the oldest entries but this one.
local function make_room()
  while tonumber(redis.call('HGET', meta, 'bytes') or 0) > limit do
    local oldest = redis.call('ZRANGE', age, 0, 1)
    local name = oldest[1]
    if name == key then name = oldest[2] end
    if not name then return end
    forget(name)
  end
end

-- The index lives as long as its longest entry.
local function settle()
  local timed, all = redis.call('ZCARD', ends), redis.call('ZCARD', age)
  if all == 0 then
    redis.call('UNLINK', age, ends, meta)
  elseif timed < all then
    for _, name in ipairs({age, ends, meta}) do redis.call('PERSIST', name) end
  else
    local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
    local left = whole(math.max(math.ceil((last - now) / 1000), 0) + 1000)
    for _, name in ipairs({age, ends, meta}) do redis.call('PEXPIRE', name, left) end
  end
end
