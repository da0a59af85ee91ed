-- Version 1 writes only client_id, version 2 only profile_id; the triggers keep the two equal. A SQLite trigger cannot change
-- the row that is being written, so each one writes the other column afterwards. They end because each fires only while the
-- two differ.
ALTER TABLE orders ADD COLUMN profile_id integer;

DROP TRIGGER orders_owner_required;
CREATE TRIGGER orders_owner_required BEFORE INSERT ON orders WHEN NEW.client_id IS NULL AND NEW.profile_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'orders: client_id or profile_id is required');
END;

CREATE TRIGGER orders_insert_in_step AFTER INSERT ON orders WHEN NEW.client_id IS NOT NEW.profile_id
BEGIN
  UPDATE orders
  SET client_id = coalesce(NEW.client_id, NEW.profile_id), profile_id = coalesce(NEW.profile_id, NEW.client_id)
  WHERE id = NEW.id;
END;

CREATE TRIGGER orders_client_in_step AFTER UPDATE OF client_id ON orders
WHEN NEW.client_id IS NOT OLD.client_id AND NEW.profile_id IS NOT NEW.client_id
BEGIN
  UPDATE orders SET profile_id = NEW.client_id WHERE id = NEW.id;
END;

CREATE TRIGGER orders_profile_in_step AFTER UPDATE OF profile_id ON orders
WHEN NEW.profile_id IS NOT OLD.profile_id AND NEW.client_id IS NOT NEW.profile_id
BEGIN
  UPDATE orders SET client_id = NEW.profile_id WHERE id = NEW.id;
END;
