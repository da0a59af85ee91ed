"""The role that contracts: what its gates were asked about is what runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ansible_collections.everup.deploy.tests.support.contract_world import VERSION

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: everup.deploy.contract, tasks_from: %s}
"""


def contract(world, folder: Path, tasks: str = "main", **variables) -> subprocess.CompletedProcess:
    """Run the role on a release that is rolled out; only what can be known of a database alone is asked."""
    play = folder / "contract.yml"
    play.write_text(PLAY % tasks, encoding="utf-8")
    inventory = folder / "inventory"
    inventory.write_text("[web]\nweb1\n", encoding="utf-8")
    given = {
        "release_version": VERSION,
        "everup_database": world.db.options,
        "everup_migrations": str(world.db.folder),
        "contract_gates": ["references", "backfills", "assertions"],
        **({"contract_soaking": {"release": {"reached": "rolled"}}} if tasks == "main" else {}),
        "lease_opened": {"token": world.token, "release": {"state": "rolled", "schema_version": ""}},
        **variables,
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(play)]
    return subprocess.run([*command, "-e", json.dumps(given)], capture_output=True, text=True, timeout=180)


# Adds a script as soon as the ledger has the evidence.
LATE = """
import sqlite3, sys
late, database = sys.argv[1:]
if sqlite3.connect(database).execute("SELECT 1 FROM everup_event WHERE what = 'contract_evidence'").fetchall():
    open(late, "w").write("DROP TABLE IF EXISTS much;")
print("60s")
"""


def test_a_script_that_comes_behind_the_gates_does_not_run(make_world, tmp_path):
    world = make_world("sqlite")
    world.db.write("0002_5_late.sql", "CREATE TABLE much (id int);")
    world.db.migrate()
    adding = tmp_path / "late.py"
    adding.write_text(LATE, encoding="utf-8")
    late = world.db.folder / "contract" / "0002_5_late.sql"
    budget = f"{{{{ lookup('pipe', '{sys.executable} {adding} {late} {world.db.options['login_db']}') }}}}"
    refused = contract(world, tmp_path, contract_lock_budget=budget)
    assert refused.returncode != 0, refused.stdout
    assert "the pending scripts are not the ones that were approved" in refused.stdout, refused.stdout + refused.stderr
    assert {"legacy", "much"} <= world.db.tables()
    done = contract(world, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not {"legacy", "much"} & world.db.tables()


def test_a_release_that_nobody_knows_is_named_with_those_that_the_ledger_knows(make_world, tmp_path):
    mistyped = contract(make_world("sqlite"), tmp_path, tasks="wait", release_version="2.40")
    assert mistyped.returncode != 0
    said = " ".join(mistyped.stdout.split())
    assert f"there is no release 2.40. The ledger knows {VERSION}. Nothing was changed." in said, (
        mistyped.stdout + mistyped.stderr
    )
