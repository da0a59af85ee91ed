"""The SQL that walks a table along its key, as each engine wants it."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError
from ansible_collections.everup.deploy.plugins.module_utils._db.keyset import (
    MYSQL,
    POSTGRESQL,
    SQL_SERVER,
    SQLITE,
    Column,
    decode_key,
    encode_key,
    table_parts,
    type_text,
)

A, B, C = (Column(name, "int", "int", False) for name in "abc")


def compare(keyset, columns, operator):
    return keyset.compare([c.name for c in columns], [keyset.marker(c) for c in columns], operator, "x")


def test_rows_of_values_where_an_index_answers_them():
    found = compare(SQLITE, [A, B], ">")
    assert (found.sql, found.values({"x": [1, 2]})) == ("(a, b) > (?, ?)", (1, 2))
    uuid = Column("id", "uuid", "uuid", False)
    assert compare(POSTGRESQL, [uuid], "<=").sql == "id <= CAST(? AS uuid)"
    assert POSTGRESQL.read('"id"', uuid) == '"id"::text'


@pytest.mark.parametrize("keyset", [MYSQL, SQL_SERVER])
def test_and_and_or_everywhere_else(keyset):
    found = compare(keyset, [A, B], ">")
    assert found.sql == "a >= ? AND (a > ? OR a = ? AND b > ?)"
    assert found.values({"x": [1, 2]}) == (1, 1, 1, 2)
    found = compare(keyset, [A, B, C], "<=")
    assert found.sql == "a <= ? AND (a < ? OR a = ? AND b < ? OR a = ? AND b = ? AND c <= ?)"
    assert found.values({"x": [1, 2, 3]}) == (1, 1, 1, 2, 1, 2, 3)
    assert compare(keyset, [A], ">=").sql == "a >= ?"


@pytest.mark.parametrize("operator", [">", ">=", "<="])
def test_the_long_form_means_the_same(operator):
    """By trying every pair of keys, with Python in the place of the database."""
    values = [(a, b, c) for a in range(2) for b in range(2) for c in range(2)]
    long = compare(MYSQL, [A, B, C], operator)
    text = long.sql.replace(" AND ", " and ").replace(" OR ", " or ").replace(" = ", " == ")
    for key in values:
        for bound in values:
            parameters = iter(long.values({"x": list(bound)}))
            expression = "".join(str(next(parameters)) if part == "?" else part for part in text)
            expected = {">": key > bound, ">=": key >= bound, "<=": key <= bound}[operator]
            assert eval(expression, dict(zip("abc", key))) == expected, (expression, key)  # noqa: S307


@pytest.mark.parametrize(
    ("keyset", "column", "read", "marker"),
    [
        (SQL_SERVER, ("varchar", "varchar(20)"), "k", "CAST(? AS varchar(20))"),
        (SQL_SERVER, ("uniqueidentifier", ""), "CONVERT(char(36), k)", "CAST(? AS uniqueidentifier)"),
        (SQL_SERVER, ("datetime2", "datetime2(7)"), "CONVERT(varchar(40), k, 126)", "CAST(? AS datetime2(7))"),
        (SQL_SERVER, ("varbinary", "varbinary(16)"), "CONVERT(varchar(max), k, 2)", "CONVERT(varbinary(16), ?, 2)"),
        (SQL_SERVER, ("bigint", "bigint"), "k", "?"),
        (MYSQL, ("varchar", "varchar(20)"), "k", "?"),
        (MYSQL, ("decimal", "decimal(20, 4)"), "CAST(k AS CHAR(70))", "CAST(? AS decimal(20, 4))"),
        (MYSQL, ("datetime", "datetime"), "CAST(k AS CHAR(32))", "CAST(? AS DATETIME(6))"),
        (MYSQL, ("binary", "binary(16)"), "HEX(k)", "UNHEX(?)"),
        (SQLITE, ("", ""), "k", "?"),
        (POSTGRESQL, ("", "numeric(20,4)"), "k::text", "CAST(? AS numeric(20,4))"),
    ],
)
def test_values_are_read_and_bound_exactly(keyset, column, read, marker):
    found = Column("k", *column, False)
    assert (keyset.read("k", found), keyset.marker(found).replace("\0", "?")) == (read, marker)


@pytest.mark.parametrize(("keyset", "kind"), [(SQL_SERVER, "timestamp"), (SQL_SERVER, "float"), (MYSQL, "double")])
def test_types_that_cannot_be_a_watermark_are_refused(keyset, kind):
    with pytest.raises(DatabaseError, match=f"The key column k is of type {kind}"):
        keyset.marker(Column("k", kind, kind, False))


def test_sql_server_stays_below_lock_escalation():
    assert 0 < SQL_SERVER.largest_batch * 2 < 5000
    assert SQL_SERVER.nth.format(offset=9) == "OFFSET 9 ROWS FETCH NEXT 1 ROWS ONLY"


@pytest.mark.parametrize(
    "key", [[1, -5, 2**63 - 1], ["é'\"\\\0x", ""], [0.1, 1e300, -0.0], [b"\x00\xff"], ["1.2500", "2026-11-21 06:31:22.359278+00"]]
)
def test_a_watermark_comes_back_exactly(key):
    back = decode_key(encode_key(key))
    assert back == key and [type(value) for value in back] == [type(value) for value in key]


def test_no_watermark():
    assert encode_key(None) is None and decode_key(None) is None


@pytest.mark.parametrize("value", [None, True, object(), float("nan")])
def test_what_json_would_change_is_refused(value):
    with pytest.raises(DatabaseError, match="cannot be kept as a watermark"):
        encode_key([value])


def test_names_and_types():
    assert (table_parts("orders"), table_parts("sales.orders")) == (("", "orders"), ("sales", "orders"))
    row = {"character_maximum_length": None, "numeric_precision": 10, "numeric_scale": 2, "datetime_precision": 3}
    assert type_text({**row, "data_type": "decimal"}) == "decimal(10, 2)"
    assert type_text({**row, "data_type": "datetime2"}) == "datetime2(3)"
    assert type_text({**row, "data_type": "int"}) == "int"
    assert type_text({**row, "data_type": "nvarchar", "character_maximum_length": -1}) == "nvarchar(max)"
    assert type_text({**row, "data_type": "varchar", "character_maximum_length": 20}) == "varchar(20)"
