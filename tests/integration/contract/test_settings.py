# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gates and overrides that nobody can have meant end a contract before it waits for its soak, asks a host or takes the lease."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.everup.deploy.plugins.module_utils._release.gates import GATES
from ansible_collections.everup.deploy.tests.support.adhoc import isolated

ROLE = Path(__file__).resolve().parents[3] / "roles" / "contract"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"contract_override": {"soak": ""}}, "contract_override: that of soak has no reason: say why"),
        ({"contract_override": {"soak": None}}, "contract_override: that of soak has no reason: say why"),
        ({"contract_override": {"sok": "because"}}, "contract_override: there is no gate sok; the gates are hosts, members"),
        ({"contract_gates": ["hosts", "sesions"]}, "Got no match for: sesions"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_told_at_once(tmp_path, settings, said) -> None:
    variables = {
        "everup_database": {"login_db": str(tmp_path / "shop.sqlite")},
        "everup_migrations": str(tmp_path),
        "release_version": "2.4.0",
        **settings,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "everup.deploy.contract", "-e", json.dumps(variables)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=isolated(tmp_path))
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "See how long 2.4.0 has served all traffic" not in done.stdout


def test_the_role_knows_every_gate() -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    known = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["contract__gates"]
    assert tuple(known) == GATES
    assert all(specs[entry]["options"]["contract_gates"]["choices"] == list(GATES) for entry in ("main", "run"))
