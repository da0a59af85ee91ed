-- Version 1 writes only client_id, version 2 only profile_id; this keeps the two equal in every table that has both.
CREATE FUNCTION client_profile_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.client_id IS DISTINCT FROM OLD.client_id AND NEW.profile_id IS NOT DISTINCT FROM OLD.profile_id THEN
      NEW.profile_id := NEW.client_id;
    ELSIF NEW.profile_id IS DISTINCT FROM OLD.profile_id AND NEW.client_id IS NOT DISTINCT FROM OLD.client_id THEN
      NEW.client_id := NEW.profile_id;
    END IF;
  END IF;
  NEW.profile_id := coalesce(NEW.profile_id, NEW.client_id);
  NEW.client_id := coalesce(NEW.client_id, NEW.profile_id);
  IF NEW.client_id <> NEW.profile_id THEN
    RAISE EXCEPTION 'client_id % and profile_id % of one row of % differ', NEW.client_id, NEW.profile_id, TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END
$$;
