# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that nobody reads since their names are written wrongly."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.everup.deploy.plugins.filter.misspelt_settings import OF_PLAYBOOKS, misspelt_settings, settings
from ansible_collections.everup.deploy.plugins.module_utils._release.spelling import misspelt

VARIABLES = Path(__file__).resolve().parents[3] / "docs" / "variables.md"
KNOWN = ("availability_bound", "rolling_upgrade_min_healthy", "release_version")
BEGINNINGS = ("availability_", "rolling_upgrade_", "release_")


def test_what_was_meant():
    names = ("availability_bond", "rolling_upgrade_min_helthy", "relaese_version", "release_verison", *KNOWN)
    assert misspelt(names, KNOWN, BEGINNINGS) == {
        "availability_bond": "availability_bound",
        "release_verison": "release_version",
        "rolling_upgrade_min_helthy": "rolling_upgrade_min_healthy",
    }


def test_what_is_a_teams_own_is_left_alone():
    assert (
        misspelt(
            ("release_notes", "availability_zone", "shop_release_version", "rolling_upgrade__min_healthy"), KNOWN, BEGINNINGS
        )
        == {}
    )


def test_no_setting_is_taken_for_another():
    known = settings()
    assert {"availability_bound", "contract_soak", "rolling_upgrade_min_healthy"} < known
    assert misspelt(known, known, ("contract_", "availability_")) == {}


def test_what_the_playbooks_read_is_what_is_documented():
    table = VARIABLES.read_text().partition("## Of the playbooks")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) == sorted(OF_PLAYBOOKS)


def test_each_is_told_once():
    hostvars = {"web1": {"contract_soaks": "1h"}, "web2": {"contract_soaks": "1h", "x": 1}}
    told = misspelt_settings(["web1", "web2"], hostvars)
    assert told == ["contract_soaks is no setting of everup.deploy, and nobody reads it: is contract_soak meant?"]
