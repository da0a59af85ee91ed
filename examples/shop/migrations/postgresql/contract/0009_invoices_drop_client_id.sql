-- VALIDATE lets readers and writers go on, and after it SET NOT NULL need not look at the rows.
ALTER TABLE invoices VALIDATE CONSTRAINT invoices_has_profile;
DROP TRIGGER invoices_in_step ON invoices;
ALTER TABLE invoices
  ALTER COLUMN profile_id SET NOT NULL,
  DROP COLUMN client_id;
ALTER TABLE invoices DROP CONSTRAINT invoices_has_profile;
-- The last table that used it.
DROP FUNCTION client_profile_in_step();
