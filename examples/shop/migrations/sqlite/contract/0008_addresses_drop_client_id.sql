-- SQLite refuses to drop a column that a view, an index or a trigger still names.
DROP TRIGGER addresses_insert_in_step;
DROP TRIGGER addresses_client_in_step;
DROP TRIGGER addresses_profile_in_step;
DROP TRIGGER addresses_owner_required;
DROP INDEX addresses_client_id;
ALTER TABLE addresses DROP COLUMN client_id;
CREATE TRIGGER addresses_owner_required BEFORE INSERT ON addresses WHEN NEW.profile_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'addresses.profile_id is required');
END;
