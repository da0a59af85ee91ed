# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lives in a database besides tables: the query for its views, procedures and functions, and its tSQLt suites.

Facts relied on: the catalogs' own documentation (PostgreSQL 52.11 and 52.39, MariaDB and MySQL INFORMATION_SCHEMA, SQL Server
sys.objects). tSQLt.RunAll raises an error when a test has failed, leaves its results in tSQLt.TestResult until the next run, and
rolls back the transaction that it is called in (tsqlt.org, "RunAll"), so it is called outside of ours.
"""

from __future__ import annotations

from typing import Callable

from ..errors import DatabaseError

# Columns: schema, name, kind (view, function, procedure).
STORED_OBJECTS = {
    "sqlite": "SELECT NULL AS schema, name, 'view' AS kind FROM sqlite_master WHERE type = 'view'",
    "postgresql": (
        "SELECT n.nspname::text AS schema, o.name::text AS name, o.kind FROM ("
        " SELECT relnamespace AS namespace, relname AS name, 'view' AS kind FROM pg_class WHERE relkind IN ('v', 'm')"
        " UNION SELECT pronamespace, proname, CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END FROM pg_proc"
        ") o JOIN pg_namespace n ON n.oid = o.namespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    ),
    "mysql": (
        "SELECT table_schema AS `schema`, table_name AS name, 'view' AS kind FROM information_schema.views"
        " WHERE table_schema = DATABASE() UNION ALL SELECT routine_schema, routine_name, LOWER(routine_type)"
        " FROM information_schema.routines WHERE routine_schema = DATABASE()"
    ),
    "sqlserver": (
        "SELECT SCHEMA_NAME(schema_id) AS [schema], name, CASE type WHEN 'V' THEN 'view' WHEN 'P' THEN 'procedure'"
        " ELSE 'function' END AS kind FROM sys.objects WHERE type IN ('V', 'P', 'FN', 'IF', 'TF') AND is_ms_shipped = 0"
    ),
}
STORED_OBJECTS["mariadb"] = STORED_OBJECTS["mysql"]
_TSQLT_THERE = "SELECT OBJECT_ID(N'tSQLt.RunAll') AS id"
_TSQLT_RESULTS = (
    "SELECT Class AS suite, TestCase AS name, Result AS result, Msg AS msg,"
    " CAST(COALESCE(DATEDIFF(millisecond, TestStartTime, TestEndTime), 0) AS int) AS milliseconds"
    " FROM tSQLt.TestResult ORDER BY Id"
)


def run_tsqlt(query: Callable[[str], list[dict]]) -> list[dict]:
    """Run every tSQLt suite of a SQL Server database; nothing where tSQLt is not installed.

    Parameters:
        query: runs a batch and returns its rows; must not stand in a transaction.

    Returns:
        name, suite, seconds and failure (empty when it passed) of each test.

    Raises:
        DatabaseError: the suites could not be run at all.
    """
    if query(_TSQLT_THERE)[0]["id"] is None:
        return []
    refused = None
    try:
        query("EXEC tSQLt.RunAll")
    except DatabaseError as error:
        refused = error  # that tests have failed is an error too; the table tells which
    found = query(_TSQLT_RESULTS)
    failed = [row for row in found if row["result"] not in ("Success", "Skipped")]
    if refused is not None and not failed:
        raise refused
    return [
        {
            "name": row["name"],
            "suite": row["suite"],
            "seconds": row["milliseconds"] / 1000,
            "failure": (row["msg"] or row["result"]) if row in failed else "",
        }
        for row in found
    ]
