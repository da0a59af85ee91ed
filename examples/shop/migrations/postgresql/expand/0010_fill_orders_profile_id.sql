-- The rows from before the triggers.
UPDATE orders SET profile_id = client_id WHERE profile_id IS NULL;
