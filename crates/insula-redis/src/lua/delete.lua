local found = kind()
forget(key)
expire()
settle()
return {'ok', found and '1' or '0'}
