CREATE INDEX orders_profile_id ON orders (profile_id, id);
CREATE INDEX addresses_profile_id ON addresses (profile_id);
