-- everup: transaction=none
CREATE INDEX CONCURRENTLY orders_profile_id ON orders (profile_id, id);
CREATE INDEX CONCURRENTLY addresses_profile_id ON addresses (profile_id);
