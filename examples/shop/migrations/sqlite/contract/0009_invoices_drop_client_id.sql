-- SQLite refuses to drop a column that a view, an index or a trigger still names.
DROP TRIGGER invoices_insert_in_step;
DROP TRIGGER invoices_client_in_step;
DROP TRIGGER invoices_profile_in_step;
DROP TRIGGER invoices_owner_required;
ALTER TABLE invoices DROP COLUMN client_id;
CREATE TRIGGER invoices_owner_required BEFORE INSERT ON invoices WHEN NEW.profile_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'invoices.profile_id is required');
END;
