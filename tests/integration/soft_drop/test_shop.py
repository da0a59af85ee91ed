"""The contract of the example shop: every column that it drops is kept, and comes back with its view and functions."""

import shutil
from pathlib import Path

import pytest

MIGRATIONS = Path(__file__).resolve().parents[3] / "examples" / "shop" / "migrations"


@pytest.mark.parametrize("db", ["sqlite", "postgresql"], indirect=True)
def test_nothing_of_the_shop_is_lost(db):
    shutil.copytree(MIGRATIONS / db.engine, db.folder, dirs_exist_ok=True)
    db.migrate()
    held = db.query("SELECT id, client_id FROM orders ORDER BY id")
    result = db.migrate(phase="contract", release_version="2.0.0")
    assert (result["lost"], result["warnings"]) == ([], [])
    kept = [one["object"].removeprefix("public.") for one in result["kept"]]
    columns = [f"{table}.client_id" for table in ("orders", "addresses", "invoices")]
    assert set(kept) >= {"order_overview", *columns}
    if db.engine == "postgresql":
        assert "client_profile_in_step()" in kept or "client_profile_in_step" in kept
    assert db.trash("restore", release_version="2.0.0")["changed"]
    assert db.query("SELECT id, client_id FROM orders ORDER BY id") == held
    assert len(db.query("SELECT * FROM order_overview")) >= 0
