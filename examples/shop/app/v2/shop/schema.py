# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Version 2 of the database: a row's owner is `profile_id`, orders are listed by `order_overview_2`."""

from sqlalchemy import Column, Integer, MetaData, String, Table

metadata = MetaData()

customers = Table("customers", metadata, Column("id", Integer, primary_key=True), Column("name", String))

orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("profile_id", Integer, key="owner"),
    Column("item", String),
    Column("quantity", Integer),
    Column("amount_cents", Integer),
)

addresses = Table(
    "addresses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("profile_id", Integer, key="owner"),
    Column("street", String),
    Column("city", String),
)

invoices = Table(
    "invoices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Integer),
    Column("profile_id", Integer, key="owner"),
    Column("amount_cents", Integer),
)

order_overview = Table(
    "order_overview_2",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("profile_id", Integer, key="owner"),
    Column("profile_name", String, key="owner_name"),
    Column("item", String),
    Column("quantity", Integer),
    Column("amount_cents", Integer),
    Column("invoice_id", Integer),
    Column("billed_to", Integer),
)
