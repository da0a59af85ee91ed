# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The linter as a command: what it is asked, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.everup.deploy.plugins.module_utils._lint import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for source, text in {
        "expand/0001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);\n",
        "expand/0002_b.sql": "DROP TABLE b;\n",
        "contract/0002_c.sql": "DROP TABLE c;\n",
        "repeatable/v.sql": "CREATE VIEW v AS SELECT id FROM a;\n",
    }.items():
        path = tmp_path / "migrations" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "migrations"


def run(*arguments: str, engine: str = "postgresql") -> int:
    return cli.main(["--engine", engine, "--processes", "1", *arguments])


def test_one_error_ends_it_with_one(shop: Path, capsys) -> None:
    assert run(str(shop)) == 1
    printed = capsys.readouterr()
    assert f"{shop}/expand/0002_b.sql:1:1: error: table b is dropped" in printed.out
    assert printed.out.endswith("1 error, 1 warning\n")
    assert printed.err == ""


def test_nothing_found_ends_it_with_nought(shop: Path, capsys) -> None:
    (shop / "expand/0002_b.sql").unlink()
    (shop / "contract/0002_c.sql").unlink()
    assert run(str(shop)) == 0
    assert capsys.readouterr().out == "nothing found\n"


@pytest.mark.parametrize(("fail_on", "status"), [("error", 0), ("warning", 1), ("notice", 1), ("never", 0)])
def test_what_is_bad_enough_can_be_chosen(shop: Path, fail_on: str, status: int) -> None:
    assert run(str(shop / "contract/0002_c.sql"), "--fail-on", fail_on) == status


def test_named_files_alone_are_told(shop: Path, capsys) -> None:
    assert run("migrations/expand/0001_a.sql", "migrations/repeatable/v.sql") == 0
    assert capsys.readouterr().out == "nothing found\n"
    assert run("migrations/expand/0002_b.sql") == 1
    assert capsys.readouterr().out.startswith("migrations/expand/0002_b.sql:1:1: error: ")


def test_a_file_is_found_from_its_own_folder(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(shop / "expand")
    assert run("0002_b.sql") == 1
    assert "/expand/0002_b.sql:1:1: error: " in capsys.readouterr().out
    monkeypatch.chdir(shop)
    assert run("expand/0002_b.sql") == 1
    assert "expand/0002_b.sql:1:1: error: " in capsys.readouterr().out


def test_a_folder_beside_its_file_is_told_whole(shop: Path, capsys) -> None:
    assert run("migrations", "migrations/expand/0001_a.sql") == 1
    assert capsys.readouterr().out.count("error: ") == 1


def test_scripts_up_to_a_version_have_run(shop: Path, capsys) -> None:
    assert run("migrations", "--since", "0002") == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_placeholders_have_values(shop: Path, capsys) -> None:
    (shop / "expand/0003_d.sql").write_text("DROP TABLE ${name};\n")
    assert run("migrations/expand/0003_d.sql") == 1
    assert "the placeholder ${name} is undefined" in capsys.readouterr().out
    assert run("migrations/expand/0003_d.sql", "--placeholder", "name=dd") == 1
    assert "table dd is dropped" in capsys.readouterr().out


def test_a_script_that_cannot_be_split_is_an_error_of_its_phase(shop: Path, capsys) -> None:
    (shop / "expand/0002_b.sql").write_text("SELECT 1;\nSELECT 'a;\n")
    assert run("migrations/expand/0002_b.sql") == 1
    said = "0002_b.sql:2:8: error: this script cannot be read: the quote ' is not closed [unparsable]"
    assert said in capsys.readouterr().out


def test_a_file_name_without_a_version_is_an_error(shop: Path, capsys) -> None:
    (shop / "expand/new.sql").write_text("SELECT 1;\n")
    assert run("migrations/expand/new.sql") == 1
    assert "expand/new.sql:1:1: error: this script cannot be read: " in capsys.readouterr().out


def test_sources_are_searched(shop: Path, capsys) -> None:
    (shop.parent / "src").mkdir()
    (shop.parent / "src" / "shop.py").write_text("import db\n\ndb.query('SELECT id FROM c')\n")
    assert run("migrations/contract/0002_c.sql", "--source", "src") == 1
    assert "it is still named in src/shop.py:3 [contract-still-used]" in capsys.readouterr().out


def test_other_folder_names(shop: Path, capsys) -> None:
    (shop / "expand").rename(shop / "add")
    assert run("migrations", "--expand-folder", "add") == 1
    assert "migrations/add/0002_b.sql:1:1: error: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist."),
        (["migrations", "--placeholder", "name"], "--placeholder name: write it as NAME=VALUE"),
        (["migrations", "--since", "soon"], "since: "),
        (["migrations", "--source", "nowhere"], "sources: nowhere does not exist on this host."),
    ],
)
def test_what_cannot_be_said_ends_it_with_two(shop: Path, capsys, arguments: list, said: str) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [["--engine", "oracle", "migrations"], ["migrations"], ["--engine", "sqlite"]])
def test_a_wrong_call_ends_it_with_two(shop: Path, capsys, arguments: list) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: everup-lint" in capsys.readouterr().err


def test_findings_as_json(shop: Path, capsys) -> None:
    assert run("migrations/expand/0002_b.sql", "--format", "json") == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["source"], finding["rule"]) == ("migrations/expand/0002_b.sql", "expand-drop-table")


def test_it_runs_without_ansible(shop: Path, tmp_path: Path) -> None:
    """As pre-commit installs it: the package is our module_utils under another name, and there is no ansible."""
    package = tmp_path / "site" / "everup_lint"
    package.parent.mkdir()
    package.symlink_to(ROOT / "plugins" / "module_utils")
    (tmp_path / "site" / "ansible.py").write_text("raise ImportError('there is no Ansible here')\n")
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]
    project = (ROOT / "pyproject.toml").read_text()
    assert f'{hook["entry"]} = "everup_lint._lint.cli:main"' in project
    call = "import sys; from everup_lint._lint.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", call, "--engine", "postgresql", "migrations/expand/0002_b.sql"],
        cwd=shop.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert "migrations/expand/0002_b.sql:1:1: error: " in ended.stdout


def test_every_package_that_pre_commit_needs_is_named(shop: Path) -> None:
    written = (ROOT / "pyproject.toml").read_text()
    for folder in ("_db", "_db/engines", "_lint", "_lint/rules", "_migrations"):
        assert f'"everup_lint.{folder.replace("/", ".")}"' in written
