"""What may be filled, in which order, and when a contract script may run."""

from dataclasses import dataclass, field, replace

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.backfill_store import BackfillRow
from ansible_collections.everup.deploy.plugins.module_utils._migrations.backfills import (
    check_backfills,
    contract_findings,
    pending_backfills,
    starts_over,
)
from ansible_collections.everup.deploy.plugins.module_utils._migrations.version import Version


@dataclass(frozen=True)
class Fill:
    version: Version
    checksum: str = "now"
    source: str = "backfill/7_x.yml"

    @property
    def definition(self):
        return self


@dataclass
class Script:
    version: Version
    source: str = "contract/7_x.sql"


@dataclass
class Applied:
    version: Version
    state: str = "applied"
    more: list = field(default_factory=list)


SEVEN = Version("7")
ROW = BackfillRow(
    *(SEVEN, "x", "backfill/7_x.yml", "now", "running", [5], [9], 1, 40, 40, 100, None, 10, 4),
    *("2026-11-20T10:00:00.000Z", None, "me@here", None, None),
)


def refused(row, repair=None, **options):
    with pytest.raises(EverupError) as caught:
        check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [row] if row else [], repair=repair, **options)
    return caught.value.details["findings"][0]


NOTHING = {"expand_files": [], "expand_rows": []}


def test_finished_ones_and_those_beyond_the_target_wait():
    fills = [Fill(Version(text)) for text in ("7", "8", "0009")]
    assert pending_backfills(fills, [replace(ROW, state="finished")], None) == fills[1:]
    assert pending_backfills(fills, [ROW], Version("8")) == fills[:2]


@pytest.mark.parametrize(
    ("row", "repair", "expected"),
    [
        (None, None, True),
        (ROW, None, False),
        (ROW, "retry", False),
        (replace(ROW, state="failed"), "retry", False),
        (replace(ROW, checksum="then"), "retry", True),
        (replace(ROW, checksum="then"), None, False),
        (replace(ROW, state="incomplete"), "retry", True),
        (replace(ROW, state="incomplete"), None, False),
    ],
)
def test_when_it_begins_at_the_first_key(row, repair, expected):
    """Asked again for each slice: once it has begun anew, retry must not begin it anew once more."""
    assert starts_over(Fill(SEVEN), row, repair) is expected


def test_edited_ones_are_refused():
    edited = replace(ROW, checksum="then")
    assert "the file changed after 40 rows" in refused(edited, **NOTHING)
    check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [edited], repair="retry", **NOTHING)
    finished = replace(edited, state="finished")
    for repair in (None, "retry"):
        assert "the file changed after it finished" in refused(finished, repair, **NOTHING)
    check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [ROW], repair=None, **NOTHING)


def test_its_expand_script_comes_first():
    files = [Script(SEVEN)]
    assert "the expand script of version 7 has not been applied" in refused(None, expand_files=files, expand_rows=[])
    failed = [Applied(SEVEN, "failed")]
    assert "has not been applied" in refused(None, expand_files=files, expand_rows=failed)
    check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [], files, [Applied(SEVEN)], None)
    check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [], files, [], None, foresee=True)
    check_backfills([Fill(SEVEN)], [Fill(SEVEN)], [], [], [], None)


@pytest.mark.parametrize(
    ("fills", "rows", "left", "finding"),
    [
        ([Fill(SEVEN)], [], {}, "backfill/7_x.yml has not begun"),
        ([Fill(SEVEN)], [ROW], {}, "backfill/7_x.yml is 'running' after 40 rows"),
        ([Fill(SEVEN)], [replace(ROW, state="incomplete")], {}, "is 'incomplete'"),
        ([], [ROW], {}, "backfill/7_x.yml is 'running'"),
        ([Fill(SEVEN)], [replace(ROW, state="finished")], {SEVEN: 3}, "3 rows are left to do"),
        ([Fill(SEVEN)], [replace(ROW, state="finished")], {SEVEN: 0}, None),
        ([], [replace(ROW, state="finished")], {}, None),
        ([Fill(Version("8"))], [], {}, None),
    ],
)
def test_contract_waits_for_the_backfill_of_its_version(fills, rows, left, finding):
    found = contract_findings([Script(SEVEN)], fills, rows, left)
    assert [finding in text for text in found] == ([True] if finding else [])
