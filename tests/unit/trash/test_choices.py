"""Names of what is kept, which of it a request means, and the text of a manifest."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.kept import is_kept, kept_name
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import Lexis
from ansible_collections.everup.deploy.plugins.module_utils._db.routine_arguments import same_arguments
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._trash.choose import (
    matching,
    old_versions,
    to_purge,
    to_restore,
    to_retire,
)
from ansible_collections.everup.deploy.plugins.module_utils._trash.lines import drop_lines, trash_lines
from ansible_collections.everup.deploy.plugins.module_utils._trash.manifest import Manifest, Place
from ansible_collections.everup.deploy.plugins.module_utils._trash.mysql import _hidden
from ansible_collections.everup.deploy.plugins.module_utils._trash.postgresql import column_manifest
from ansible_collections.everup.deploy.plugins.module_utils._trash.store import Kept, keep_seconds

MYSQL = Lexis(quotes='"`', backslash_escapes=True, hash_comments=True)


def kept(number, name, column="", state="dropped", due=False, release="2.4.0"):
    place = Place("public", name, column)
    manifest = Manifest("column" if column else "table", place, Place("everup_trash", f"{name}__{number}"))
    times = {"dropped_at": "t0", "purge_after": "t1", "changed_at": "t0", "changed_by": "me"}
    return Kept(number, release, "s", manifest.kind, str(place), manifest.kept_as, manifest, state, due=due, **times)


def test_a_name_is_bounded_in_bytes_and_keeps_what_tells_it_apart():
    assert kept_name("orders", "2.4.0", 7, 63) == "orders__2_4_0_7"
    assert kept_name("note", None, 8, 63, "everup_trash_") == "everup_trash_note__no_release_8"
    long = kept_name("ä" * 63, "2026-11-22 and a very long name", 123, 63)
    assert len(long.encode()) <= 63 and long.endswith("_123")
    assert kept_name("a" * 63, "1", 1, 63) != kept_name("a" * 63, "1", 2, 63)
    names = [kept_name("a" * 58 + end, "2.4.0", 1, 63) for end in ("_x", "_y", "_pkey")]
    assert len(set(names)) == 3 and max(map(len, names)) == 63


def test_what_is_in_the_trash_is_told_by_its_name():
    assert is_kept("everup_trash", "orders") and is_kept("", "EVERUP_TRASH_x") and is_kept(None, "everup_trash_x")
    assert not is_kept("public", "everup_trash") and not is_kept(None, "orders")


def test_which_rows_a_request_means():
    rows = [kept(1, "orders", "note"), kept(2, "orders"), kept(3, "bills", release="2.5.0")]
    assert [row.id for row in matching(rows, "orders", None)] == [2]
    assert [row.id for row in matching(rows, "Public.Orders.Note", None)] == [1]
    assert [row.id for row in matching(rows, "orders.note", None)] == [1]
    assert [row.id for row in matching(rows, "note", None)] == []
    assert [row.id for row in matching(rows, "3", None)] == [3]
    assert [row.id for row in matching(rows, "everup_trash.orders__2", "2.4.0")] == [2]
    assert [row.id for row in to_restore(rows, None, "2.4.0")] == [2, 1]


def test_what_is_restored():
    assert to_restore([kept(1, "a", state="restored")], "a", None) == []
    for rows, wanted, message in (
        ([], None, "object or release_version is missing"),
        ([], "a", "Nothing is kept by the name a"),
        ([kept(1, "a", state="purged")], "a", "Nothing is kept"),
        ([kept(1, "a"), kept(2, "a")], "a", "1 is public.a of release 2.4.0"),
    ):
        with pytest.raises(EverupError, match=message):
            to_restore(rows, wanted, None)


def test_a_release_that_never_dropped_anything_is_a_slip_of_the_pen():
    rows = [kept(1, "a", state="restored"), kept(2, "b", release="2.5.0")]
    assert to_restore(rows, None, "2.4.0") == []
    for release in ("2.4", ""):
        with pytest.raises(EverupError, match=rf"Release '{release}' has dropped nothing .* kept of: 2\.5\.0"):
            to_restore(rows, None, release)


def test_a_release_that_was_purged_is_not_taken_for_restored():
    rows = [kept(1, "a", state="purged"), kept(2, "b", state="purged"), kept(3, "c", release="2.5.0")]
    with pytest.raises(EverupError, match=r"was purged, and only a backup has it: public\.a at t0 by me, public\.b at t0 by me"):
        to_restore(rows, None, "2.4.0")
    assert to_restore([*rows, kept(4, "d", state="restored")], None, "2.4.0") == []
    assert [row.id for row in to_restore([*rows, kept(4, "d")], None, "2.4.0")] == [4]


def test_what_nobody_keeps_can_neither_be_restored_nor_purged():
    for choose in (lambda *asked: to_restore(*asked), lambda *asked: to_purge(*asked, early=False)):
        for rows, release, said in (
            ([], None, r"by the name a\. Kept: nothing"),
            ([kept(1, "b", due=True)], "2.5.0", r"by the name a from release 2\.5\.0\. Kept: public\.b \(1\)"),
        ):
            with pytest.raises(EverupError, match=said):
                choose(rows, "a", release)
    assert [row.id for row in to_restore([kept(1, "a"), kept(2, "b")], "b", None)] == [2]
    assert to_purge([kept(1, "b")], None, None, early=False) == []


def test_what_is_purged():
    rows = [kept(1, "a", due=True), kept(2, "b"), kept(3, "c", state="restored", due=True)]
    assert [row.id for row in to_purge(rows, None, None, early=False)] == [1]
    assert [row.id for row in to_purge(rows, None, "2.4.0", early=True)] == [2, 1]
    with pytest.raises(EverupError, match="neither object nor release_version says what is to go before its time"):
        to_purge(rows, None, None, early=True)
    assert to_purge([kept(1, "a", state="purged")], "a", None, early=False) == []
    with pytest.raises(EverupError, match=r"Not due yet: public\.b until t1"):
        to_purge(rows, "b", None, early=False)


def test_old_versions_and_their_uses():
    versions = [{"name": name, "version": number} for number, name in enumerate(("sp", "sp_2", "sp_3"), start=1)]
    family = {"schema": "dbo", "name": "sp", "kind": "procedure", "versions": versions}
    found = old_versions(
        [family], {("dbo", "sp"): {"uses": 0, "last_used_at": None}, ("dbo", "sp_2"): {"uses": 3, "last_used_at": "t"}}
    )
    assert [(one["name"], one["newest"], one["last_used"]) for one in found] == [
        ("sp", "sp_3", "never since the server counts"),
        ("sp_2", "sp_3", "t"),
    ]
    assert to_retire(found, "DBO.sp_2")["name"] == "sp_2"
    for wanted, message in (
        (None, "object is missing"),
        ("sp_3", "nothing newer is beside it"),
        ("x", "Old versions: dbo.sp, dbo.sp_2"),
    ):
        with pytest.raises(EverupError, match=message):
            to_retire(found, wanted)


def test_a_manifest_is_its_text():
    manifest = Manifest("table", Place("a", "b"), Place("c", "d"), ("x",), finish=({"of": "k", "sql": "s", "what": "w"},))
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2592000), ("12h", 43200), ("0s", 0), ("1.5d", 129600)])
def test_how_long_something_is_kept(text, seconds):
    assert keep_seconds(text) == seconds


@pytest.mark.parametrize("text", ["99999999999d", "36501d", "999999999h"])
def test_nothing_is_kept_for_longer_than_a_calendar_has_years(text):
    with pytest.raises(EverupError, match="it can be 36500d at most"):
        keep_seconds(text)


@pytest.mark.parametrize("text", ["", "d", "a month", "3y", "-5d", "nand", "infd", "1e3d", "1_0d", "٣d"])
def test_how_long_nothing_is_kept(text):
    with pytest.raises(EverupError, match="write it as 30d, 4w"):
        keep_seconds(text)


@pytest.mark.parametrize(
    ("line", "stand_in", "hidden"),
    [
        ("int(11) DEFAULT 5", "", "int(11) DEFAULT 5 INVISIBLE"),
        (
            "varchar(9) NOT NULL COMMENT 'it''s, CHECK (me) COMMENT'",
            "''",
            "varchar(9) NOT NULL DEFAULT '' INVISIBLE COMMENT 'it''s, CHECK (me) COMMENT'",
        ),
        ("int(11) DEFAULT NULL CHECK (`a` > 0)", "", "int(11) DEFAULT NULL INVISIBLE"),
        ("int(11) INVISIBLE DEFAULT 5", "", "int(11) INVISIBLE DEFAULT 5"),
    ],
)
def test_a_column_that_nobody_minds(line, stand_in, hidden):
    assert _hidden(line, stand_in, MYSQL) == hidden


@pytest.mark.parametrize(
    ("given", "known", "same"),
    [
        ("int", "a integer", True),
        ("a int, varchar", "a integer, b character varying", True),
        ("IN a text, OUT b int", "a text", True),
        ("text", "a integer", False),
        ("", "a integer", False),
        ("", "", True),
    ],
)
def test_the_arguments_of_a_routine(given, known, same):
    assert same_arguments(given, known) is same


def quote(name):
    return f'"{name}"'


def column_of(fallback=None, identity="", not_null=0, constraints=(), indexes=()):
    column = {"fallback": fallback, "identity": identity, "not_null": not_null}
    place = Place("public", "t", "c")
    return column_manifest(
        '"public"."t"', place, column, list(constraints), list(indexes), lambda name, prefix: f"{prefix}{name}", quote
    )


def unique(name="u", nulls_alike=False):
    return {"name": name, "type": "u", "definition": "UNIQUE (c)", "nulls_alike": nulls_alike, "parent": None}


def test_which_constraints_of_a_column_are_taken_off():
    assert len(column_of(constraints=[unique()]).move) == 1
    assert len(column_of(constraints=[unique(nulls_alike=True)]).move) == 2
    assert len(column_of("5", constraints=[unique()]).move) == 2
    assert len(column_of("nextval('s')", constraints=[unique()]).move) == 1
    assert len(column_of(identity="a", not_null=1, constraints=[unique()]).move) == 1
    check = {"name": "k", "type": "c", "definition": "CHECK (c > 0)", "nulls_alike": False, "parent": None}
    found = column_of(constraints=[check])
    assert found.constraints[0]["sql"].endswith("CHECK (c > 0) NOT VALID") and "VALIDATE" in found.finish[0]["sql"]
    found = column_of(constraints=[{**check, "definition": "CHECK (c > 0) NOT VALID"}])
    assert found.constraints[0]["sql"].count("NOT VALID") == 1 and found.finish == ()


def test_not_null_is_taken_off_where_no_default_stands_in():
    assert any("DROP NOT NULL" in sql for sql in column_of(not_null=1).move)
    assert not any("DROP NOT NULL" in sql for sql in column_of("5", not_null=1).move)


def test_what_a_contract_is_going_to_drop():
    plan = {"kept": [{"object": "public.orders"}], "lost": [{"object": "shop.note", "why": "it is a generated column"}]}
    assert drop_lines(plan, "30d") == [
        "public.orders: kept for at least 30d, everup.deploy.restore brings it back",
        "shop.note: dropped for good, it is a generated column",
    ]


def test_lines_for_a_terminal():
    assert trash_lines({"kept": [], "old_versions": []}) == ["The trash is empty."]
    row = {**kept(7, "orders").as_dict(), "bytes": 2_500_000, "notes": []}
    (line,) = trash_lines({"kept": [row], "old_versions": []})
    assert line == "7 table public.orders, dropped by release 2.4.0 at t0, 2.5 MB, kept until t1"
