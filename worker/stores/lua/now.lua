-- The store's clock, ms.
return int(clock())
