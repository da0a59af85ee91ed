-- SQLite refuses to drop a column that a view, an index or a trigger still names.
DROP VIEW order_overview;
DROP TRIGGER orders_insert_in_step;
DROP TRIGGER orders_client_in_step;
DROP TRIGGER orders_profile_in_step;
DROP TRIGGER orders_owner_required;
DROP INDEX orders_client_id;
ALTER TABLE orders DROP COLUMN client_id;
CREATE TRIGGER orders_owner_required BEFORE INSERT ON orders WHEN NEW.profile_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'orders.profile_id is required');
END;
