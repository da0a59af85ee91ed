-- everup: until=0007
-- While both versions run, the triggers keep the two columns equal.
SELECT id, client_id, profile_id FROM orders WHERE profile_id IS DISTINCT FROM client_id;
