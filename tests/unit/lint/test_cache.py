# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A script is parsed once: what it was read into is kept for this user alone, and never what placeholders stand for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lint import folder as folders
from ansible_collections.everup.deploy.plugins.module_utils._lint import run
from ansible_collections.everup.deploy.plugins.module_utils._lint.cache import FactsCache, default_folder
from ansible_collections.everup.deploy.plugins.module_utils._lint.parse import Parser, ParserMissing

from .folders import params

SECRET = "hunter2-7f3a"
TWO_RULES = ["expand-drop-table", "expand-drop-column"]


@pytest.fixture
def scripts(tmp_path: Path) -> dict:
    given = params(tmp_path, cache=str(tmp_path / "cache"))
    given.write("expand/0001_a.sql", "DROP TABLE a;\n")
    given.write("expand/0002_b.sql", "ALTER TABLE b DROP COLUMN c;\nFROBNICATE d;\n")
    return given


def rules(given: dict) -> list[str]:
    return [finding.rule for finding in run.judge(given)[0]]


@pytest.fixture
def no_parser(monkeypatch: pytest.MonkeyPatch):
    """Make the parser unusable from there on."""

    def refuse(_engine: str) -> None:
        raise ParserMissing("No module named 'sqlfluff'")

    return lambda: monkeypatch.setattr(folders, "Parser", refuse)


def test_an_unchanged_script_is_not_parsed_again(scripts, no_parser) -> None:
    cold = run.judge(scripts)
    no_parser()
    assert run.judge(scripts) == cold
    assert [finding.rule for finding in cold[0]] == ["expand-drop-table", "expand-drop-column", "unparsable"]


def test_a_changed_script_is(scripts, no_parser) -> None:
    run.judge(scripts)
    scripts.write("expand/0001_a.sql", "DROP TABLE a; \n")
    no_parser()
    with pytest.raises(EverupError, match="needs sqlfluff on the host that it runs on: pip install sqlfluff"):
        run.judge(scripts)


def test_another_engine_reads_it_anew(scripts, no_parser) -> None:
    run.judge(scripts)
    no_parser()
    scripts["engine"] = "sqlite"
    with pytest.raises(EverupError, match="needs sqlfluff"):
        run.judge(scripts)


def test_another_version_of_the_parser_reads_it_anew(tmp_path: Path) -> None:
    FactsCache(tmp_path, "sqlite", "4.0").put("SELECT 1;", [], [])
    assert FactsCache(tmp_path, "sqlite", "4.0").get("SELECT 1;") == ([], [])
    assert FactsCache(tmp_path, "sqlite", "4.1").get("SELECT 1;") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"facts": [{}], "unread": []}', '{"facts": 1, "unread": 2}', "\udcff"]
)
def test_a_broken_file_is_read_anew(scripts, content: str) -> None:
    cold = run.judge(scripts)
    kept = [path for path in Path(scripts["cache"]).rglob("*.json")]
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert run.judge(scripts) == cold


def test_a_folder_that_cannot_be_written_keeps_nothing_and_nothing_fails(scripts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    scripts["cache"] = str(tmp_path / "file" / "cache")
    assert rules(scripts) == [*TWO_RULES, "unparsable"]
    assert (tmp_path / "file").read_text() == "no folder"


def test_the_files_are_the_users_own(scripts) -> None:
    before = os.umask(0)
    try:
        run.judge(scripts)
    finally:
        os.umask(before)
    kept = [Path(scripts["cache"]), *Path(scripts["cache"]).rglob("*")]
    assert len(kept) >= 4
    for path in kept:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_script_with_the_value_of_a_placeholder_is_never_kept(scripts, no_parser) -> None:
    scripts.write("expand/0003_user.sql", "DROP TABLE c;\nALTER USER shop PASSWORD '${password}';\nEXECUTE '${password}';\n")
    scripts["placeholders"] = {"password": SECRET}
    assert rules(scripts).count("expand-drop-table") == 2
    kept = [path for path in Path(scripts["cache"]).rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert not [path for path in kept if SECRET in path.read_text("utf-8")]
    no_parser()
    with pytest.raises(EverupError, match="needs sqlfluff"):
        run.judge(scripts)


def test_a_script_is_kept_whose_placeholders_are_not_used(scripts, no_parser) -> None:
    scripts["placeholders"] = {"password": SECRET}
    cold = run.judge(scripts)
    no_parser()
    assert run.judge(scripts) == cold


def test_by_default_it_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "everup-lint"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder() == Path("/home/someone/.cache/everup-lint")


def test_scripts_are_read_in_parallel_as_one_by_one(scripts) -> None:
    for number in range(3, 12):
        scripts.write(f"expand/{number:04}_x.sql", f"DROP TABLE x{number};\n")
    scripts.update(cache=str(Path(scripts["cache"]) / "one"), processes=1)
    alone = run.judge(scripts)
    scripts.update(cache=str(Path(scripts["cache"]) / "two"), processes=2)
    assert run.judge(scripts) == alone
    assert len(alone[0]) == 12


def test_the_parser_is_loaded_for_the_first_script_that_is_not_kept(scripts) -> None:
    assert isinstance(Parser("sqlite"), Parser)
    reader = folders.Reader("postgresql", Path(scripts["cache"]))
    assert reader.read_all([]) == []
    assert reader._parser is None
