-- Returns the store's clock (ms).
-- Keys: meta. Reads only.
-- Callers: `Store.now`, `RecordStore`, `ArqIngressStore`.
return int(clock())
