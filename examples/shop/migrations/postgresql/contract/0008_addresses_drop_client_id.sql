-- VALIDATE lets readers and writers go on, and after it SET NOT NULL need not look at the rows.
ALTER TABLE addresses VALIDATE CONSTRAINT addresses_has_profile;
DROP TRIGGER addresses_in_step ON addresses;
ALTER TABLE addresses
  ALTER COLUMN profile_id SET NOT NULL,
  DROP COLUMN client_id;
ALTER TABLE addresses DROP CONSTRAINT addresses_has_profile;
