-- Checks that a worker and a store belong together, and writes what a new store lacks. ARGV: schema, profile, fingerprint of the person key.
-- Answers what the store says: schema, profile, fingerprint.
redis.call('HSETNX', K.meta, 'schema', ARGV[1])
redis.call('HSETNX', K.meta, 'profile', ARGV[2])
redis.call('HSETNX', K.meta, 'person_key', ARGV[3])
return redis.call('HMGET', K.meta, 'schema', 'profile', 'person_key')
