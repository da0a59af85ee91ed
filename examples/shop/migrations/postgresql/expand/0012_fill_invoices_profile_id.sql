-- The rows from before the triggers.
UPDATE invoices SET profile_id = client_id WHERE profile_id IS NULL;
