"""How a script file is read: encodings, newlines, directives, placeholders."""

import codecs
import hashlib

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.postgresql import PostgresqlEngine
from ansible_collections.everup.deploy.plugins.module_utils._db.lexis import ScriptError
from ansible_collections.everup.deploy.plugins.module_utils._db.script import (
    Allowance,
    Directives,
    checksum,
    decode,
    load_script,
    parse_duration,
    read_directives,
    substitute,
)

LEXIS = PostgresqlEngine.lexis
TEXT = "CREATE TABLE t (\n  name text -- Größe, 名前\n);\n"
ENCODINGS = {
    "utf-8": lambda text: text.encode("utf-8"),
    "utf-8 with BOM": lambda text: codecs.BOM_UTF8 + text.encode("utf-8"),
    "utf-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_text_and_checksum_do_not_depend_on_encoding_and_newlines(encode, newline):
    text = decode(encode(TEXT.replace("\n", newline)), "x.sql")
    assert text == TEXT
    assert checksum(text) == hashlib.sha256(TEXT.encode()).hexdigest()


def test_checksum_follows_the_text():
    assert checksum(TEXT) != checksum(TEXT.replace("name", "title"))


@pytest.mark.parametrize(
    ("data", "start", "what"),
    [
        (b"SELECT 1;\nSELECT '\xff'", "x.sql:2:1:", "byte 18 is not UTF-8"),
        (b"a\r\rb\r\n\xfc", "x.sql:4:1:", "byte 6 is not UTF-8"),
        (codecs.BOM_UTF8 + b"\xff", "x.sql:1:1:", "byte 3 is not UTF-8"),
        (codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le") + b"\x00\xd8", "x.sql:2:1:", "is not UTF-16-LE"),
        ("ab\ncd".encode("utf-16-le"), "x.sql:1:2:", "UTF-16 without BOM"),
        (b"a\nbc\0", "x.sql:2:3:", "zero byte"),
    ],
)
def test_bytes_that_are_no_text(data, start, what):
    with pytest.raises(ScriptError) as caught:
        decode(data, "x.sql")
    assert str(caught.value).startswith(start)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("2s", 2),
        ("1.5m", 90),
        ("24h", 86400),
        ("7", 7),
        (" 3s ", 3),
        ("0", 0),
        ("7d", 604_800),
        ("2w", 1_209_600),
    ],
)
def test_durations(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "2 s", "-1s", "1y", "s", "2s5", "1e3", "1.s", "٣s", "1s\n1s"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def directives(text):
    return read_directives(text, LEXIS, "x.sql")


def test_each_directive():
    text = (
        "-- A comment\n-- everup: transaction=none\n--everup:lock_timeout = 5s\n-- Everup : statement_timeout=1m\n"
        "/* x */ -- everup: idempotent\n-- everup: allow=drop-column nobody reads it\nSELECT 1;\n"
        "-- everup: allow=rename  it's ours\nSELECT 2"
    )
    assert directives(text) == Directives(
        transaction=False,
        lock_timeout=5,
        statement_timeout=60,
        idempotent=True,
        allow=(Allowance("drop-column", "nobody reads it", 0), Allowance("rename", "it's ours", 8)),
    )


def test_without_directives():
    assert directives("SELECT '-- everup: idempotent', $$\n-- everup: idempotent\n$$") == Directives()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n-- everup: transation=none", "x.sql:2:1: unknown directive 'transation=none'"),
        ("-- EVERUP: transaction=off", "x.sql:1:1: unknown directive 'transaction=off'"),
        ("-- everup: idempotent=true", "x.sql:1:1: unknown directive"),
        ("-- everup:", "x.sql:1:1: unknown directive"),
        ("SELECT 1; -- everup: idempotent", "x.sql:1:11: 'idempotent' stands after the first statement"),
        ("-- everup: lock_timeout=1s\n-- everup: lock_timeout=1s", "x.sql:2:1: 'lock_timeout' is given twice"),
        ("-- everup: lock_timeout=soon", "x.sql:1:1: lock_timeout: 'soon' is no duration"),
        ("-- everup: statement_timeout=", "x.sql:1:1: statement_timeout: '' is no duration"),
        ("-- everup: allow=drop-column", "x.sql:1:1: allow needs a rule and a reason"),
    ],
)
def test_directives_that_are_refused(text, expected):
    with pytest.raises(ScriptError) as caught:
        directives(text)
    assert str(caught.value).startswith(expected)


def test_placeholders():
    text = "SELECT '${a}${b}', '$${a}', $1, '$a', '$$${a}'"
    assert substitute(text, {"a": 1, "b": "${a}"}, "x.sql") == "SELECT '1${a}', '${a}', $1, '$a', '$${a}'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n ${schema}", "x.sql:2:2: the placeholder ${schema} is undefined (defined: secret, two)"),
        ("${}", "x.sql:1:1: the placeholder ${} is undefined"),
        ("a ${schema\n}", "x.sql:1:3: the placeholder ${ is not closed"),
        ("${", "x.sql:1:1: the placeholder ${ is not closed"),
        ("${two}", "x.sql:1:1: the value of ${two} holds a newline"),
    ],
)
def test_placeholders_that_are_refused(text, expected):
    with pytest.raises(ScriptError) as caught:
        substitute(text, {"secret": "hunter2", "two": "hun\nter2"}, "x.sql")
    assert str(caught.value).startswith(expected)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def load(tmp_path):
    def load(text, **placeholders):
        (tmp_path / "1_x.sql").write_text(text, encoding="utf-8")
        return load_script(tmp_path / "1_x.sql", "expand/1_x.sql", LEXIS, placeholders)

    return load


def test_a_script_keeps_its_text_and_runs_its_values(load):
    script = load("-- everup: lock_timeout=${limit}\nSELECT '${word}'", word="hunter2", limit="3s", unused=1)
    assert script.text == "-- everup: lock_timeout=${limit}\nSELECT '${word}'"
    assert script.checksum == checksum(script.text)
    assert script.directives.lock_timeout == 3
    assert [statement.text for statement in script.statements] == ["SELECT 'hunter2'"]
    assert "hunter2" not in repr(script).replace("SELECT 'hunter2'", "")


def test_a_literal_placeholder_in_a_dollar_quoted_body(load):
    (statement,) = load("DO $$ BEGIN PERFORM '$${x}'; END $$").statements
    assert statement.text == "DO $$ BEGIN PERFORM '${x}'; END $$"


def test_a_server_message_is_told_without_values(load):
    script = load("SELECT '${word}', ${n}, '${long}'", word="hunter2", n=1, long="hunter2 and more", unused="near")
    message = 'error 1 at or near "hunter2 and more", 11, hunter2x'
    assert script.mask(message) == 'error ${n} at or near "${long}", 11, ${word}x'


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(ScriptError, match=r"^expand/x.sql:1:1: cannot be read: No such file"):
        load_script(tmp_path / "x.sql", "expand/x.sql", LEXIS, {})
