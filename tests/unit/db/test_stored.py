"""tSQLt suites, through a stand-in for the database: no SQL Server runs here."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.stored import run_tsqlt
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError


def database(results, installed=True, error=None):
    """Return what stands in for query()."""

    def query(sql):
        if "OBJECT_ID" in sql:
            return [{"id": 7 if installed else None}]
        if sql == "EXEC tSQLt.RunAll":
            if error:
                raise DatabaseError(error)
            return []
        assert "FROM tSQLt.TestResult" in sql
        return [{"suite": s, "name": n, "result": r, "msg": m, "milliseconds": 20} for s, n, r, m in results]

    return query


def test_nothing_where_it_is_not_installed():
    assert run_tsqlt(database([], installed=False)) == []


def test_failures_are_told_with_their_messages():
    rows = [
        ("Orders", "test a", "Success", ""),
        ("Orders", "test b", "Failure", "Expected: <1>"),
        ("Users", "test c", "Error", None),
    ]
    found = run_tsqlt(database(rows, error="Test Case Summary: 3 test case(s) executed, 1 succeeded"))
    assert [(one["suite"], one["name"], one["failure"]) for one in found] == [
        ("Orders", "test a", ""),
        ("Orders", "test b", "Expected: <1>"),
        ("Users", "test c", "Error"),
    ]
    assert found[0]["seconds"] == 0.02


def test_an_error_that_is_no_failed_test_is_raised():
    with pytest.raises(DatabaseError, match="permission denied"):
        run_tsqlt(database([("Orders", "test a", "Success", "")], error="permission denied"))
