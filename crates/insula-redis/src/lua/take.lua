-- KEYS: a window. ARGV: the time in microseconds ('' is the server's), the window's length, how many it has, how many are wanted.
local now, length, max, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local open = redis.call('HMGET', KEYS[1], 'ends', 'taken')
local ends, taken = tonumber(open[1] or 0), tonumber(open[2] or 0)
if ends <= now then
  ends, taken = now + length, 0
end
if taken + amount > max then
  return {0, ends - now}
end
redis.call('HSET', KEYS[1], 'ends', string.format('%.0f', ends), 'taken', string.format('%.0f', taken + amount))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((ends - now) / 1000) + 1))
return {1, taken + amount}
