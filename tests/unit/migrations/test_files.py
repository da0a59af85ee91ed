"""How a phase's folder is read, and that every problem in it is told at once."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlite import SqliteEngine
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations.files import read_phase


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "expand").mkdir()
    return tmp_path


@pytest.fixture
def engine(tmp_path):
    engine = SqliteEngine(str(tmp_path / "none"), "test", create=False)
    yield engine
    engine.close()


def read(folder, engine, **placeholders):
    return read_phase(str(folder), "expand", engine, placeholders)


def write(folder, **files):
    for name, text in files.items():
        (folder / "expand" / name).write_text(text, encoding="utf-8")


def test_scripts_in_version_order(folder, engine):
    write(
        folder, **{"10_c.sql": "SELECT 3", "2_b.SQL": "SELECT '${x}'", "V1__a.sql": "SELECT 1", ".9_x.sql": "'", "README.md": "'"}
    )
    found = read(folder, engine, x="two")
    assert [(str(m.version), m.description, m.source) for m in found] == [
        ("1", "a", "expand/V1__a.sql"),
        ("2", "b", "expand/2_b.SQL"),
        ("10", "c", "expand/10_c.sql"),
    ]
    assert found[1].script.statements[0].text == "SELECT 'two'"


def test_every_problem_is_told_at_once(folder, engine):
    write(
        folder,
        **{
            "1_quote.sql": "\nSELECT 'a",
            "2_begin.sql": "SELECT 1;\nBEGIN;",
            "3_placeholder.sql": "SELECT ${nothing}",
            "4_directive.sql": "-- everup: fast",
            "7_a.sql": "SELECT 1",
            "0007_b.sql": "SELECT 1",
            "7.0_c.sql": "SELECT 1",
            "name.sql": "SELECT 1",
        },
    )
    (folder / "expand" / "5_bytes.sql").write_bytes(b"\xff")
    (folder / "expand" / "6_gone.sql").symlink_to(folder / "nowhere")
    (folder / "expand" / "old" / "more").mkdir(parents=True)
    (folder / "expand" / "old" / "more" / "1_x.sql").write_text("")
    (folder / "expand" / "empty").mkdir()
    with pytest.raises(EverupError) as caught:
        read(folder, engine)
    findings = sorted(caught.value.details["findings"])
    starts = [
        "expand/1_quote.sql:2:8: the quote ' is not closed",
        "expand/2_begin.sql:2:1: BEGIN inside a script",
        "expand/3_placeholder.sql:1:8: the placeholder ${nothing} is undefined",
        "expand/4_directive.sql:1:1: unknown directive 'fast'",
        "expand/5_bytes.sql:1:1: byte 0 is not UTF-8",
        "expand/6_gone.sql:1:1: cannot be read: No such file",
        "expand/7.0_c.sql:1:1: version 7.0 is taken by expand/0007_b.sql",
        "expand/7_a.sql:1:1: version 7 is taken by expand/7.0_c.sql",
        "expand/name.sql:1:1: the name is not VERSION_description.sql",
        "expand/old:1:1: scripts in a subfolder are not run",
    ]
    assert [finding[: len(start)] for finding, start in zip(findings, starts)] == starts
    assert len(findings) == len(starts)
    assert str(caught.value).startswith(f"{len(starts)} problem(s) in {folder / 'expand'}, nothing was run:\n  ")
    assert all(finding in str(caught.value) for finding in findings)


def test_a_missing_phase_is_empty_and_a_missing_folder_is_not(tmp_path, engine):
    assert read(tmp_path, engine) == []
    with pytest.raises(EverupError, match=r"folder .*nowhere does not exist on this host"):
        read(tmp_path / "nowhere", engine)
