-- Checks that a process and a store belong together, and writes what a new store lacks.
-- ARGV: schema, profile, fingerprint of the person key.
-- Returns the values in the store: schema, profile, fingerprint.
-- Keys: meta.
-- Callers: `Store.connect`.

redis.call('HSETNX', K.meta, 'schema', ARGV[1])
redis.call('HSETNX', K.meta, 'profile', ARGV[2])
redis.call('HSETNX', K.meta, 'person_key', ARGV[3])
return redis.call('HMGET', K.meta, 'schema', 'profile', 'person_key')
