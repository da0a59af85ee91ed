"""The playbooks trash, restore and purge, as an operator calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.tests.support.trash import build, contract, is_there, rows

BIN = Path(sys.executable).parent


def play(db, name, *arguments, **variables):
    command = [
        str(BIN / "ansible-playbook"),
        f"everup.deploy.{name}",
        "-e",
        json.dumps({"everup_database": db.options, **variables}),
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
def test_list_restore_and_purge(db):
    build(db)
    contract(db, "DROP TABLE bills;\nALTER TABLE orders DROP COLUMN note", purge_after="0s")
    listed = play(db, "trash")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "1 table public.bills, dropped by release 2.4.0 at" in listed.stdout
    assert "may be purged" in listed.stdout

    shown = play(db, "restore", "--check", "--diff", trash_object="bills")
    assert "changed=1" in shown.stdout and "+restored: public.bills" in shown.stdout and not is_there(db, "bills")
    restored = play(db, "restore", trash_object="bills")
    assert restored.returncode == 0 and "TASK [Restore bills]" in restored.stdout, restored.stdout
    assert len(rows(db, "bills")) == 2

    purged = play(db, "purge", release_version="2.4.0")
    assert purged.returncode == 0 and "changed=1" in purged.stdout, purged.stdout
    refused = play(db, "restore", trash_object="orders.note")
    assert refused.returncode == 2 and "Nothing is kept by the name orders.note" in refused.stdout
