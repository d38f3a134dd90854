-- What a decision would see now; writes nothing. ARGV: person, sender, account ('': the sender's own), ContentSid, message id.
local now = clock()
local account = ARGV[3] ~= '' and ARGV[3] or (redis.call('HGET', K.sender(ARGV[2]), 'a') or '')
return facts_of(ARGV[5], resolve(ARGV[1]), ARGV[2], account, ARGV[4], now, {})
