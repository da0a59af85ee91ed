# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the contract phase drops must not be named any more: in repeatable scripts, the source, or the live schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import Finding, lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import Live, Target
from ansible_collections.everup.deploy.plugins.module_utils._lint.run import judge

from .folders import params
from .written import parser

RULE = "contract-still-used"


@pytest.fixture
def shop(tmp_path: Path) -> dict:
    given = params(tmp_path, sources=[str(tmp_path / "src")])
    given.write("expand/0001_orders.sql", "CREATE TABLE orders (id bigint PRIMARY KEY, client_id bigint);\n")
    (tmp_path / "src" / "web").mkdir(parents=True)
    given.source = tmp_path / "src" / "web" / "orders.cs"
    return given


def told(given: dict) -> list[str]:
    return [finding.message for finding in judge(given)[0] if finding.rule == RULE]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW open_orders AS SELECT id, client_id FROM orders;\n",
        "CREATE FUNCTION f() RETURNS int AS $$ SELECT count(client_id)::int FROM Orders $$ LANGUAGE sql;\n",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN\n RETURN (SELECT CLIENT_ID FROM orders); END $$;\n",
    ],
)
def test_a_repeatable_script_names_a_column(shop, text: str) -> None:
    shop.write("contract/0001_client.sql", "ALTER TABLE orders DROP COLUMN client_id;\n")
    shop.write("repeatable/open_orders.sql", text)
    assert told(shop) == ["orders.client_id is dropped, and it is still named in repeatable/open_orders.sql:1"]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW open_orders AS SELECT id, customer_id FROM orders;\n",
        "CREATE VIEW clients AS SELECT client_id FROM invoices;\n",
        "CREATE VIEW open_orders AS SELECT id AS old_client_id FROM orders;\n",
    ],
)
def test_a_repeatable_script_names_something_else(shop, text: str) -> None:
    shop.write("contract/0001_client.sql", "ALTER TABLE orders DROP COLUMN client_id;\n")
    shop.write("repeatable/open_orders.sql", text)
    assert told(shop) == []


def test_the_source_names_a_column(shop) -> None:
    shop.write("contract/0001_client.sql", "ALTER TABLE orders DROP COLUMN client_id;\n")
    shop.source.write_text('class Order\n{\n    [Column("client_id")]\n    int Client;\n}\n')
    assert told(shop) == [f"orders.client_id is dropped, and it is still named in {shop.source}:3"]
    shop.source.write_text('class Order\n{\n    [Column("old_client_id")]\n    int Client;\n}\n')
    assert told(shop) == []


@pytest.mark.parametrize("kind", ["TABLE", "VIEW", "PROCEDURE"])
def test_the_source_names_an_object(shop, kind: str) -> None:
    shop.write("contract/0001_old.sql", f"DROP {kind} public.find_order;\n")
    shop.source.write_text('// find_orders\nCall("Find_Order");\n')
    assert [re.sub(".* in ", "", message) for message in told(shop)] == [f"{shop.source}:2"]


def test_many_users_are_counted(shop) -> None:
    shop.write("contract/0001_old.sql", "DROP TABLE old_orders;\n")
    shop.source.write_text("old_orders\n" * 5)
    place = shop.source
    assert told(shop) == [f"old_orders is dropped, and it is still named in {place}:1, {place}:2, {place}:3 and 2 more"]


def test_files_that_are_no_source_are_left_out(shop, tmp_path: Path) -> None:
    shop.write("contract/0001_old.sql", "DROP TABLE old_orders;\n")
    for name, content in {
        ".git/old": b"old_orders",
        "shop.dll": b"\0old_orders",
        "data.json": b"old_orders " * 200_000,
    }.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert told(shop) == []
    shop["sources"] = [str(tmp_path / "src" / ".git" / "old")]
    assert len(told(shop)) == 1, "what is named itself is read"


def test_a_view_that_the_contract_drops_too_is_no_user() -> None:
    live = Live(modules={"public.v": "CREATE VIEW v AS SELECT client_id FROM orders"})
    drop = "ALTER TABLE orders DROP COLUMN client_id;"

    def found(text: str) -> list[Finding]:
        told = lint_sql(text, Target("postgresql"), phase="contract", live=live, parser=parser("postgresql"))
        return [finding for finding in told if finding.rule == RULE]

    assert "public.v" in found(drop)[0].message
    assert found(f"DROP VIEW v;\n{drop}") == []
    assert found(f"CREATE OR REPLACE VIEW public.v AS SELECT id FROM orders;\n{drop}") == []
