local found = kind()
if not found then return {'absent'} end
if found == 'list' then return {'wrong', 'a list'} end
return {'ok', redis.call('GET', value)}
