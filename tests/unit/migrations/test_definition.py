"""Definitions of backfills: what is read from them, and that nothing odd is let through."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._migrations import definition as definitions
from ansible_collections.everup.deploy.plugins.module_utils._migrations.definition import Throttle, read_definition

WHOLE = """
table: sales.orders
key: [region, id]
set:
  profile_id: client_id
  note: >-
    coalesce(note, '${word}')
where: profile_id IS NULL
verify: SELECT count(*) FROM sales.orders WHERE profile_id IS NULL;
batch: {start: 500, most: 4000}
target: 100ms
pause: 50%
throttle:
  query: SELECT count(*) FROM queue
  most: 10.5
  lag: 5s
  load: 8
  every: 2s
engines:
  sqlite:
    set: {profile_id: client_id}
"""
SMALL = "table: orders\nkey: id\nset: {profile_id: client_id}\nwhere: profile_id IS NULL\n"


def read(text, engine="postgresql", values=None):
    values = {"word": "hello"} if values is None else values
    engines = ["postgresql", "sqlite"]
    return read_definition(text, "sum", "backfill/7_x.yml", engine, engines, PostgresqlEngine.lexis, values)


def findings(text, **options):
    with pytest.raises(EverupError) as caught:
        read(text, **options)
    return caught.value.details["findings"]


def test_everything_is_read():
    found = read(WHOLE)
    assert (found.table, found.key, found.where) == ("sales.orders", ("region", "id"), "profile_id IS NULL")
    assert found.assignments == {"profile_id": "client_id", "note": "coalesce(note, '${word}')"}
    assert (found.batch, found.most, found.target, found.pause, found.pause_share) == (500, 4000, 0.1, None, 0.5)
    assert found.verify.endswith("IS NULL")
    assert found.throttle == Throttle("SELECT count(*) FROM queue", 10.5, 5.0, 8, 2.0)
    assert found.filled().assignments["note"] == "coalesce(note, 'hello')"
    assert "hello" not in repr(found)


def test_defaults():
    found = read(SMALL)
    assert (found.key, found.batch, found.most, found.target) == (("id",), 1000, None, 0.25)
    assert (found.pause, found.pause_share, found.throttle, found.sql) == (None, None, Throttle(), "")
    assert (read(SMALL + "batch: 50000").batch, read(SMALL + "batch: 50000").most) == (50000, None)
    assert (read(SMALL + "batch: {most: 300}").batch, read(SMALL + "pause: 20ms").pause) == (300, 0.02)
    assert read(SMALL + "pause: auto").pause is None


def test_overrides_of_an_engine():
    text = SMALL + "engines:\n  sqlite: {sql: 'UPDATE orders SET a = 1 WHERE :range', verify: SELECT 0}\n"
    other, own = read(text), read(text, engine="sqlite")
    assert (other.sql, other.assignments) == ("", {"profile_id": "client_id"})
    assert (own.sql, own.assignments, own.where, own.verify) == ("UPDATE orders SET a = 1 WHERE :range", {}, "", "SELECT 0")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", ":1:1: the file is empty"),
        ("a: [", ":1:5: this is no YAML"),
        ("- table", ":1:1: the definition must be a mapping"),
        ("key: id\nset: {a: b}\nwhere: x", ":1:1: 'table' is missing"),
        ("table: t\nset: {a: b}\nwhere: x", ":1:1: 'key' is missing"),
        ("table: t\nkey: id\nverify: SELECT 0", ":1:1: 'set' or 'sql' is missing"),
        ("table: t\nkey: id\nset: {a: b}", ":1:1: 'verify' is missing"),
        (SMALL.replace("orders", "a b"), ":1:8: 'a b' is no name of a table"),
        (SMALL.replace("orders", "12"), ":1:8: 'table' must be text"),
        (SMALL.replace("key: id", "key: []"), ":2:6: 'key' is empty"),
        (SMALL.replace("key: id", "key: [id, id]"), ":2:11: 'key' names id twice"),
        (SMALL.replace("key: id", "key: {a: b}"), ":2:6: 'key' must be a column"),
        (SMALL.replace("client_id", "NULL"), ":3:19: 'set.profile_id' is no text: write SQL, in quotes"),
        (SMALL.replace("client_id", "1"), ":3:19: 'set.profile_id' is no text"),
        (SMALL.replace("client_id", "''"), ":3:19: 'set.profile_id' is empty"),
        (SMALL.replace("{profile_id: client_id}", "{}"), ":3:6: 'set' is empty"),
        (SMALL.replace("{profile_id: client_id}", "{a b: c}"), ":3:7: 'a b' is no name of a column"),
        (SMALL.replace("{profile_id: client_id}", "{a: b, a: c}"), ":3:13: 'set.a' is given twice"),
        (SMALL.replace("{profile_id: client_id}", "x"), ":3:6: set must be a mapping"),
        (SMALL.replace("profile_id IS NULL", "a = 1; DROP TABLE b"), ":4:8: 'where' must be one expression"),
        (SMALL.replace("profile_id IS NULL", "a = 1) OR (b = 2"), ":4:8: 'where' has parentheses that do not match"),
        (SMALL.replace("profile_id IS NULL", "'a = '''"), ":4:8: 'where':"),
        (SMALL.replace("profile_id IS NULL", "a ? 'b'"), ":4:8: 'where' holds a question mark"),
        (SMALL.replace("profile_id IS NULL", "a = '${nowhere}'"), ":4:8: 'where': the placeholder ${nowhere} is undefined"),
        (SMALL + "wher: x", ":5:1: 'wher' is unknown: did you mean 'where'?"),
        (SMALL + "zzz: x", ":5:1: 'zzz' is unknown: known are table, key"),
        (SMALL + "table: x", ":5:1: 'table' is given twice"),
        (SMALL + "batch: many", ":5:8: 'batch' must be a whole number of at least 1"),
        (SMALL + "batch: 0", ":5:8: 'batch' must be a whole number of at least 1"),
        (SMALL + "batch: -5", ":5:8: 'batch' must be a whole number of at least 1"),
        (SMALL + "batch: {start: 9, most: 5}", ":5:25: 'batch.most' is less than 'batch.start', which is 9"),
        (SMALL + "batch: {size: 9}", ":5:9: 'batch.size' is unknown"),
        (SMALL + "target: soon", ":5:9: 'target': 'soon' is no duration"),
        (SMALL + "target: 0s", ":5:9: 'target' must be longer than nothing"),
        (SMALL + "target: [1s]", ":5:9: 'target': '' is no duration"),
        (SMALL + "pause: long", ":5:8: 'pause': 'long' is no duration"),
        (SMALL + "throttle: {}", ":5:11: 'throttle'"),
        (SMALL + "throttle: {every: 1s}", ":5:11: 'throttle' has no bound"),
        (SMALL + "throttle: {query: SELECT 1}", ":5:11: 'throttle.query' and 'throttle.most' belong together"),
        (SMALL + "throttle: {query: SELECT 1, most: few}", ":5:35: 'throttle.most' must be a number"),
        (SMALL + "throttle: {load: x}", ":5:18: 'throttle.load' must be a whole number"),
        (SMALL + "engines: {oracle: {where: x}}", ":5:11: 'engines.oracle' is unknown"),
        (SMALL + "engines: {sqlite: {table: x}}", ":5:20: 'engines.sqlite.table' is unknown"),
        (SMALL + "engines: {sqlite: {where: 1}}", ":5:27: 'engines.sqlite.where' is no text"),
        (SMALL + "sql: UPDATE t SET a = 1 WHERE :range", ":5:1: 'sql' and 'set' exclude each other"),
        ("table: t\nkey: id\nsql: UPDATE t SET a = 1\nverify: SELECT 0", ":3:6: 'sql' is not bound to its batch"),
        ("table: t\nkey: id\nsql: DELETE FROM t WHERE id > :first\nverify: SELECT 0", ":3:6: 'sql' is not bound to its batch"),
        ("table: t\nkey: id\nsql: 'X :range; Y'\nverify: SELECT 0", ":3:6: 'sql' must be one statement"),
        ("table: t\nkey: id\nsql: X :range\nwhere: x", ":4:1: 'where' belongs into the statement of 'sql'"),
    ],
)
def test_what_could_not_be_meant_is_refused(text, finding):
    found = findings(text)
    assert any(line.startswith(f"backfill/7_x.yml{finding}") for line in found), found


def test_everything_is_said_at_once():
    assert len(findings("table: 1\nkeys: id\nset: {a: 1}\nbatch: x\n")) >= 5


def test_pyyaml_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(definitions, "yaml", None)
    with pytest.raises(EverupError, match="PyYAML cannot be imported by the Python that runs this module"):
        read(SMALL)
