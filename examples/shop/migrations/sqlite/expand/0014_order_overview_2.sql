-- A view's name carries its version, so that the old one stays as it is for the servers that still run the old code.
CREATE VIEW order_overview_2 AS
SELECT
  o.id,
  o.profile_id,
  c.name AS profile_name,
  o.item,
  o.quantity,
  o.amount_cents,
  i.id AS invoice_id,
  i.profile_id AS billed_to
FROM orders AS o
INNER JOIN customers AS c ON c.id = o.profile_id
INNER JOIN invoices AS i ON i.order_id = o.id;
