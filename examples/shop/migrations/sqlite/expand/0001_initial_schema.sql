-- SQLite can never take a NOT NULL away from a column, and client_id has to become optional one day: a trigger, which can
-- be replaced, requires it instead.
CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE orders (
  id integer PRIMARY KEY AUTOINCREMENT,
  client_id integer,
  item text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  amount_cents integer NOT NULL,
  created_at text NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX orders_client_id ON orders (client_id, id);

CREATE TABLE addresses (
  id integer PRIMARY KEY AUTOINCREMENT,
  client_id integer,
  street text NOT NULL,
  city text NOT NULL
);
CREATE INDEX addresses_client_id ON addresses (client_id);

CREATE TABLE invoices (
  id integer PRIMARY KEY AUTOINCREMENT,
  order_id integer NOT NULL UNIQUE REFERENCES orders (id),
  client_id integer,
  amount_cents integer NOT NULL
);

CREATE TRIGGER orders_owner_required BEFORE INSERT ON orders WHEN NEW.client_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'orders.client_id is required');
END;

CREATE TRIGGER addresses_owner_required BEFORE INSERT ON addresses WHEN NEW.client_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'addresses.client_id is required');
END;

CREATE TRIGGER invoices_owner_required BEFORE INSERT ON invoices WHEN NEW.client_id IS NULL
BEGIN
  SELECT RAISE(ABORT, 'invoices.client_id is required');
END;

CREATE VIEW order_overview AS
SELECT
  o.id,
  o.client_id,
  c.name AS client_name,
  o.item,
  o.quantity,
  o.amount_cents,
  i.id AS invoice_id,
  i.client_id AS billed_to
FROM orders AS o
INNER JOIN customers AS c ON c.id = o.client_id
INNER JOIN invoices AS i ON i.order_id = o.id;
