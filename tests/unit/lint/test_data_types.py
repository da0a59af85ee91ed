# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which types hold everything that another one does, and what a new definition takes from the callers of the old one."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lint.data_types import (
    is_same,
    is_stored_alike,
    is_widening,
    read_type,
)
from ansible_collections.everup.deploy.plugins.module_utils._lint.rules.definitions import (
    changed_columns,
    changed_parameters,
    next_version,
)

WIDER = [
    ("INT", "BIGINT"),
    ("smallint", "int"),
    ("TINYINT", "SMALLINT"),
    ("INT(11)", "INT"),
    ("SERIAL", "BIGINT"),
    ("INT UNSIGNED", "BIGINT UNSIGNED"),
    ("VARCHAR(20)", "VARCHAR(50)"),
    ("VARCHAR(20)", "VARCHAR"),
    ("varchar(20)", "character varying(20)"),
    ("NVARCHAR(50)", "NVARCHAR(MAX)"),
    ("VARBINARY(8)", "VARBINARY(MAX)"),
    ("VARCHAR(20)", "TEXT"),
    ("TEXT", "MEDIUMTEXT"),
    ("TINYTEXT", "LONGTEXT"),
    ("NUMERIC(10, 2)", "NUMERIC(12, 2)"),
    ("DECIMAL(10,2)", "NUMERIC(14, 4)"),
    ("REAL", "DOUBLE PRECISION"),
    ("FLOAT4", "FLOAT8"),
    ("DATE", "DATETIME"),
    ("DATETIME", "DATETIME2(7)"),
    ("DATETIME2(3)", "DATETIME2(7)"),
    ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"),
    ("BOOL", "BOOLEAN"),
    ("UUID", "uuid"),
]
NARROWER = [
    ("BIGINT", "INT"),
    ("INT", "SMALLINT"),
    ("INT", "INT UNSIGNED"),
    ("INT UNSIGNED", "BIGINT"),
    ("VARCHAR(50)", "VARCHAR(20)"),
    ("NVARCHAR(MAX)", "NVARCHAR(4000)"),
    ("NVARCHAR(50)", "VARCHAR(50)"),
    ("TEXT", "VARCHAR(100)"),
    ("LONGTEXT", "TEXT"),
    ("NUMERIC(12, 2)", "NUMERIC(10, 2)"),
    ("NUMERIC(12, 2)", "NUMERIC(12, 4)"),
    ("NUMERIC(12, 4)", "NUMERIC(12, 2)"),
    ("DOUBLE PRECISION", "REAL"),
    ("DATETIME2(7)", "DATETIME2(3)"),
    ("DATETIME", "DATE"),
    ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    ("VARCHAR(20)", "INT"),
    ("UUID", "TEXT"),
    ("CHAR(10)", "CHAR(20)"),
    ("DATETIME2(3)", "DATETIME2(x)"),
    ("VARCHAR(²)", "VARCHAR(³)"),
    ("NUMERIC(²)", "REAL"),
]


@pytest.mark.parametrize(("before", "after"), WIDER)
def test_a_type_that_holds_more(before: str, after: str) -> None:
    assert is_widening(before, after)


@pytest.mark.parametrize(("before", "after"), NARROWER)
def test_a_type_that_holds_less_or_something_else(before: str, after: str) -> None:
    if "²" not in before:
        assert not is_widening(before, after)
    else:
        is_widening(before, after)  # no number at all: either answer, but an answer


@pytest.mark.parametrize(
    ("one", "other"), [("INT", "INTEGER"), ("int(11)", "INT4"), ("DECIMAL(10,2)", "numeric(10, 2)"), ("FLOAT8", "DOUBLE")]
)
def test_two_ways_to_write_a_type(one: str, other: str) -> None:
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("varchar(50)", ("VARCHAR", ("50",), "")),
        ("numeric(10, 2)", ("NUMERIC", ("10", "2"), "")),
        ("INT(10) UNSIGNED", ("INTEGER", ("10",), "UNSIGNED")),
        ("bigint unsigned zerofill", ("BIGINT", (), "UNSIGNED ZEROFILL")),
        ("timestamp(3) with time zone", ("TIMESTAMPTZ", ("3",), "")),
        ("ENUM('a)', 'b')", ("ENUM", ("'A)'", "'B'"), "")),
        ("integer[]", ("INTEGER[]", (), "")),
        ("", ("", (), "")),
    ],
)
def test_the_parts_of_a_type(written: str, read: tuple) -> None:
    assert read_type(written) == read


@pytest.mark.parametrize(
    ("before", "after", "in_place"),
    [
        ("varchar(20)", "varchar(50)", True),
        ("varchar(20)", "text", True),
        ("text", "varchar(20)", False),
        ("int", "bigint", False),  # holds more, and yet PostgreSQL writes every row anew
        ("numeric(10,2)", "numeric(12,2)", True),
        ("numeric(10,2)", "numeric(12,4)", False),
        ("numeric(10,2)", "numeric", True),
        ("timestamp(3)", "timestamp(6)", True),
        ("cidr", "inet", True),
        ("inet", "cidr", False),
        ("int4", "integer", True),
    ],
)
def test_what_postgresql_changes_without_touching_the_rows(before: str, after: str, in_place: bool) -> None:
    assert is_stored_alike(before, after) is in_place


def test_a_timestamp_changes_in_place_where_the_session_is_in_utc() -> None:
    assert is_stored_alike("timestamp", "timestamptz", utc=True)
    assert not is_stored_alike("timestamp", "timestamptz")
    assert read_type("timestamp with time zone").name == "TIMESTAMPTZ"


@pytest.mark.parametrize(
    ("name", "following"),
    [("spFind", "spFind_2"), ("spFind_2", "spFind_3"), ("find_9", "find_10"), ("dbo.find_9", "dbo.find_10"), ("a2", "a2_2")],
)
def test_the_next_version_of_a_name(name: str, following: str) -> None:
    assert next_version(name) == following


def parameter(name: str, data_type: str = "INT", default: bool = False) -> dict:
    return {"name": name, "type": data_type, "has_default": default, "mode": "IN"}


A, B, C = parameter("@a"), parameter("@b", "VARCHAR(20)"), parameter("@c", default=True)


@pytest.mark.parametrize(
    ("before", "after", "problems"),
    [
        ([A, B], [A, B], []),
        ([A], [A, C], []),
        ([A], [parameter("@A", "BIGINT")], []),
        ([A], [parameter("@a", default=True)], []),
        ([A, B], [A], ["parameter @b is gone"]),
        ([A], [A, B], ["parameter @b is new and has no default"]),
        ([B], [parameter("@b", "VARCHAR(10)")], ["parameter @b goes from VARCHAR(20) to VARCHAR(10)"]),
        ([C], [parameter("@c")], ["parameter @c loses its default"]),
        ([A, B], [B, A], ["the parameters have another order"]),
        ([A], [C, A], ["a new parameter stands in front of the old ones"]),
        ([parameter("")], [parameter(""), parameter("")], ["parameter number 2 is new and has no default"]),
        ([parameter(""), parameter("")], [parameter("")], ["parameter 1 is gone"]),
        ([], [], []),
    ],
)
def test_what_callers_would_trip_over(before: list, after: list, problems: list) -> None:
    assert changed_parameters(before, after) == problems


@pytest.mark.parametrize(
    ("before", "after", "problems"),
    [
        (["id", "name"], ["ID", "Name"], []),
        (["id", "name"], ["id", "name", "more"], []),
        (["id", "name"], ["id"], ["result column name is gone"]),
        (["id", "name"], ["name", "id"], ["the result columns have another order"]),
        (["id"], ["more", "id"], ["the result columns have another order"]),
        ([], ["id"], []),
        (["id"], [], []),
    ],
)
def test_what_readers_would_miss(before: list, after: list, problems: list) -> None:
    assert changed_columns(before, after) == problems
