-- Returns the store's clock (ms).
-- Keys: meta. Reads only.
-- Callers: `Store.now`, `RecordStore`, `ArqIngressStore`.

-- include: clock, int

return int(clock())
