-- Version 1 writes only client_id, version 2 only profile_id; the triggers keep the two equal. A SQLite trigger cannot change
-- the row that is being written, so each one writes the other column afterwards. They end because each fires only while the
-- two differ.
ALTER TABLE addresses ADD COLUMN profile_id integer;

DROP TRIGGER addresses_owner_required;
CREATE TRIGGER addresses_owner_required BEFORE INSERT ON addresses WHEN NEW.client_id IS NULL AND NEW.profile_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'addresses: client_id or profile_id is required');
END;

CREATE TRIGGER addresses_insert_in_step AFTER INSERT ON addresses WHEN NEW.client_id IS NOT NEW.profile_id
BEGIN
  UPDATE addresses
  SET client_id = coalesce(NEW.client_id, NEW.profile_id), profile_id = coalesce(NEW.profile_id, NEW.client_id)
  WHERE id = NEW.id;
END;

CREATE TRIGGER addresses_client_in_step AFTER UPDATE OF client_id ON addresses
WHEN NEW.client_id IS NOT OLD.client_id AND NEW.profile_id IS NOT NEW.client_id
BEGIN
  UPDATE addresses SET profile_id = NEW.client_id WHERE id = NEW.id;
END;

CREATE TRIGGER addresses_profile_in_step AFTER UPDATE OF profile_id ON addresses
WHEN NEW.profile_id IS NOT OLD.profile_id AND NEW.client_id IS NOT NEW.profile_id
BEGIN
  UPDATE addresses SET client_id = NEW.profile_id WHERE id = NEW.id;
END;
