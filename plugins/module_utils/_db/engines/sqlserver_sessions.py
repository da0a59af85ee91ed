# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds a session lock of SQL Server, and who blocks a session.

Facts relied on, from Microsoft Learn: without VIEW SERVER STATE (VIEW SERVER PERFORMANCE STATE from 2022 on, VIEW DATABASE
STATE on Azure SQL Database) sys.dm_exec_requests shows one's own session only, and sys.dm_tran_locks is refused by error 300
or 297 (262 on Azure); blocking_session_id may be negative ("sys.dm_exec_requests"); an application lock's
resource_description is the principal, the first 32 characters of the name in brackets, and a hash ("sys.dm_tran_locks");
APPLOCK_TEST asks whether a lock is free and needs no right of its own.
"""

from __future__ import annotations

import hashlib

from .base import Blocker

NOT_PERMITTED = (262, 297, 300)
_LONGEST_SHOWN = 32
_NOT_SEEN = "a session that this login may not see (it lacks VIEW SERVER STATE)"
_NO_SESSIONS = {
    -2: "an orphaned distributed transaction (see sys.dm_tran_locks for its UOW)",
    -3: "a deferred recovery transaction",
    -4: "a latch whose owner is changing",
    -5: "a latch that anybody may hold",
}
_SESSION_COLUMNS = """
       s.login_name, s.program_name, s.host_name,
       DATEDIFF(second, COALESCE(t.began, s.last_request_start_time), GETDATE()) AS age,
       CASE WHEN t.began IS NULL THEN N'running' ELSE N'in a transaction' END AS since,
       LEFT(q.text, 1000) AS statement
"""
_SESSION_JOINS = """
LEFT JOIN sys.dm_exec_sessions s ON s.session_id = b.session_id
LEFT JOIN sys.dm_exec_requests r ON r.session_id = b.session_id
OUTER APPLY (SELECT MIN(a.transaction_begin_time) AS began FROM sys.dm_tran_session_transactions st
             JOIN sys.dm_tran_active_transactions a ON a.transaction_id = st.transaction_id
             WHERE st.session_id = b.session_id) t
OUTER APPLY (SELECT TOP (1) c.most_recent_sql_handle AS handle FROM sys.dm_exec_connections c
             WHERE c.session_id = b.session_id) c
OUTER APPLY sys.dm_exec_sql_text(COALESCE(r.sql_handle, c.handle)) q
"""
RECENT = """
SELECT COUNT(*) AS n FROM sys.dm_exec_sessions WHERE is_user_process = 1 AND session_id <> @@SPID AND database_id = DB_ID()
AND (status = N'running' OR last_request_end_time > DATEADD(second, -1, GETDATE()))
"""
# The nearest blocker may itself wait for another: whoever stands at the head of the queue is the one to talk to.
BLOCKERS = f"""
WITH waits AS (
  SELECT w.blocking_session_id, 1 AS depth FROM sys.dm_exec_requests w
  WHERE w.session_id = {{spid}} AND w.blocking_session_id <> 0
  UNION ALL
  SELECT w.blocking_session_id, waits.depth + 1 FROM sys.dm_exec_requests w
  JOIN waits ON w.session_id = waits.blocking_session_id
  WHERE w.blocking_session_id <> 0 AND waits.depth < 10
)
SELECT b.session_id, {_SESSION_COLUMNS}
FROM (SELECT blocking_session_id AS session_id, MIN(depth) AS depth FROM waits GROUP BY blocking_session_id) b
{_SESSION_JOINS}
WHERE b.session_id <> {{spid}}
ORDER BY b.depth
"""
HOLDER = f"""
SELECT b.session_id, s.login_name, s.program_name, s.host_name,
       DATEDIFF(second, s.login_time, GETDATE()) AS age, N'connected' AS since, LEFT(q.text, 1000) AS statement
FROM (SELECT TOP (1) l.request_session_id AS session_id FROM sys.dm_tran_locks l
      WHERE l.resource_type = N'APPLICATION' AND l.resource_database_id = DB_ID() AND l.request_status = N'GRANT'
        AND CHARINDEX(N'[' + {{name}} + N']', l.resource_description) > 0) b
{_SESSION_JOINS}
"""
MAY_SEE = """
SELECT COALESCE(HAS_PERMS_BY_NAME(NULL, NULL, N'VIEW SERVER STATE'), 0) AS server_state,
       COALESCE(HAS_PERMS_BY_NAME(NULL, NULL, N'VIEW SERVER PERFORMANCE STATE'), 0) AS performance_state,
       CASE WHEN CAST(SERVERPROPERTY('EngineEdition') AS int) = 5
            THEN COALESCE(HAS_PERMS_BY_NAME(DB_NAME(), N'DATABASE', N'VIEW DATABASE STATE'), 0) ELSE 0 END AS database_state
"""


def lock_resource(name: str) -> str:
    """Return a lock's name short enough for sys.dm_tran_locks to show it whole."""
    if len(name) <= _LONGEST_SHOWN:
        return name
    return name[:15] + " " + hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]


def blockers_of(rows: list[dict], permitted: bool) -> list[Blocker]:
    """Return the sessions that the server named; where this login may not see them, one entry that says so."""
    return [blocker_of(row) for row in rows] if rows or permitted else [unseen()]


def unseen() -> Blocker:
    """Return the entry for a session that is there and cannot be named."""
    return Blocker(session=_NOT_SEEN)


def blocker_of(row: dict) -> Blocker:
    number = row["session_id"]
    if number < 0:
        return Blocker(session=_NO_SESSIONS.get(number, f"something that is no session ({number})"))
    return Blocker(
        session=str(number),
        user=row["login_name"] or "",
        program=(row["program_name"] or "").strip(),
        host=row["host_name"] or "",
        statement=row["statement"] or "",
        age_seconds=None if row["age"] is None else float(row["age"]),
        since=row["since"],
    )
