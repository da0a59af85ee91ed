-- One table a script: no transaction waits for a second table while it holds the lock on a first.
ALTER TABLE addresses
  ADD COLUMN profile_id bigint,
  ALTER COLUMN client_id DROP NOT NULL;
-- everup: allow=expand-trigger-fails it refuses a row only if both columns are written and differ, and no version writes both
CREATE TRIGGER addresses_in_step BEFORE INSERT OR UPDATE ON addresses
  FOR EACH ROW EXECUTE FUNCTION client_profile_in_step();
-- NOT VALID holds for new rows and looks at no old one: those are filled later.
ALTER TABLE addresses ADD CONSTRAINT addresses_has_profile CHECK (profile_id IS NOT NULL) NOT VALID;
