-- VALIDATE lets readers and writers go on, and after it SET NOT NULL need not look at the rows.
ALTER TABLE orders VALIDATE CONSTRAINT orders_has_profile;
-- The old view reads the column, so it goes first.
DROP VIEW order_overview;
DROP TRIGGER orders_in_step ON orders;
ALTER TABLE orders
  ALTER COLUMN profile_id SET NOT NULL,
  DROP COLUMN client_id;
ALTER TABLE orders DROP CONSTRAINT orders_has_profile;
