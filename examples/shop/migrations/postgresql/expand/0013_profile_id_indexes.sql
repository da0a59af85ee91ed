-- everup: transaction=none
-- everup: idempotent
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_profile_id ON orders (profile_id, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS addresses_profile_id ON addresses (profile_id);
