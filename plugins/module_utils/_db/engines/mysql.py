# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MariaDB and MySQL through pyodbc and MariaDB Connector/ODBC or MySQL Connector/ODBC.

Facts relied on, from the servers' manuals: every DDL statement commits implicitly ("Statements That Cause an Implicit
Commit"), and one DDL statement happens wholly or not at all ("Atomic DDL": MariaDB 10.6, MySQL 8.0); lock_wait_timeout bounds
waits for metadata locks and innodb_lock_wait_timeout those for rows, both in whole seconds, and both end in error 1205, a
deadlock's victim in 1213; max_statement_time (MariaDB) bounds any statement, max_execution_time (MySQL) SELECT alone; GET_LOCK
is known to the whole server, by a name of at most 64 characters, and ends with its session, which is after its statement in
flight. A session's sql_mode decides about quotes and lengths; backticks and UTC_TIMESTAMP() mean the same in every mode and zone.

Seen of MariaDB Connector/ODBC 3.1.15: OPTION=2 counts rows found instead of rows changed; a text parameter of some thousand
characters fails in SQLPutData unless ``maxwrite`` of pyodbc is larger; several statements in one call are refused; EXECUTE is
refused, DO fails, and SQLMoreResults crashes the process behind a result set that it does not expect (OPTIMIZE, REPAIR,
VALUES, HELP) and behind a CREATE TRIGGER whose body holds semicolons, but not behind BEGIN NOT ATOMIC ... END; FORCETLS=1 goes
on without TLS when the server has none, SSLVERIFY=1 does not.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from decimal import Decimal

from ..._redact import odbc_parts, odbc_quote
from ..errors import DatabaseError, LockTimeout
from ..lexis import Lexis, ScriptError, Statement
from ..questions import Question
from . import mysql_catalog as catalog
from .base import Blocker
from .odbc import OdbcEngine, driver_text, installed_drivers, pyodbc

_FOUND_ROWS = 2
_LONGEST_PARAMETER = 1 << 28
_LOCK_TIMEOUTS = (1205, 1213)
_STATEMENT_TIMEOUTS = (1969, 3024)
_DEFAULT_LOCK_SECONDS = 10
_NATIVE = re.compile(r"\((\d+)\) \(SQL\w+\)")
_IN_TRANSACTION = ("INSERT", "UPDATE", "DELETE", "REPLACE", "SELECT", "WITH", "LOAD")
_LEAVES_SESSION_ALONE = (*_IN_TRANSACTION, "CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "ANALYZE")
# A procedure and a compound statement commit each of their statements by itself; a prepared one may be either.
_PIECEWISE = ("CALL", "BEGIN", "IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR", "EXECUTE")
_PLAIN_IMMEDIATE = re.compile(rf"(?is)execute\s+immediate\s+(['\"])\s*(?!(?:{'|'.join(_PIECEWISE)}|set)\b)[a-z]")
_FOR_PIECEWISE = re.compile(rf"(?i)\bfor\s+(?:{'|'.join(_PIECEWISE)})\b")
_WRAPPED = ("EXECUTE", "DO", "OPTIMIZE", "REPAIR", "VALUES", "HELP")
_HIDDEN_RESULT = re.compile(r"(?is)/\*M?!\d*\s*(select|values|show|call|with|optimize|repair|help|execute|do)\b")
_LOST_WITH_SESSION = re.compile(r"(?is)\binto\s+@|\bcreate\s+(or\s+replace\s+)?temporary\b|:=")
_FILE = re.compile(r"(?i)\binto\s+(?:out|dump)file\b|\bload\s+index\b")
# Set again, they would stop the session's clock or hand out a key once more; they are the server's to move.
_MOVING = ("timestamp", "insert_id", "last_insert_id", "identity", "rand_seed1", "rand_seed2", "pseudo_thread_id")
_COMPUTED = re.compile(r"(?is)\bselect\b|\w\s*\(|@\w*last_insert_id|@@identity")


class MysqlEngine(OdbcEngine):
    """One session of a MySQL server, 8.0 or newer."""

    name = "mysql"
    label = "MySQL"
    packages = ("odbc-mariadb", "mariadb-connector-odbc")
    drivers = ("MySQL ODBC 9", "MySQL ODBC 8", "MariaDB Unicode", "MariaDB ODBC", "MariaDB")
    minimum = (8, 0)
    statement_timeout = "max_execution_time"
    statement_timeout_unit = 1000
    read_only = "transaction_read_only"
    transactional_ddl = False
    keeps_zone = False
    table_options = " ENGINE=InnoDB"
    repeatable = ("ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "FLUSH", "GRANT", "REVOKE")
    lexis = Lexis(
        quotes='"`',
        backslash_escapes=True,
        hash_comments=True,
        executable_comments=True,
        delimiter_lines=True,
        client_command=r"(?i)\\[a-zA-Z.!#]|(?:source|system)[ \t]+\S",
    )
    types = {  # noqa: RUF012 - a constant
        "text": "mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "name": "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "time": "datetime(3)",
        "count": "bigint",
        "serial": "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY",
    }

    def __init__(self, connection_string: str, schema: str, connect_timeout: int) -> None:
        super().__init__(connection_string, schema, connect_timeout)
        self._before_script: dict | None = None
        self._script_values: dict | None = None
        try:
            self._greet()
        except BaseException:
            self._connection.close()
            raise

    def _greet(self) -> None:
        """Look whom we talk to, and remember the session as the server makes it."""
        row = self.query("SELECT version() AS version, connection_id() AS id, database() AS name")[0]
        self._version, self._id, self._home = row["version"], int(row["id"]), row["name"] or ""
        self._refuse_wrong_server()
        self._initial = self._own_now()
        if not self._home:
            raise DatabaseError(f"{self.label}: no database is chosen: give login_db, or DATABASE in connection_string.")
        self.schema = self.schema or self._home
        if "NO_BACKSLASH_ESCAPES" in str(self._initial["sql_mode"]):
            self.lexis = replace(self.lexis, backslash_escapes=False)
        self._take_session()

    def _refuse_wrong_server(self) -> None:
        is_mariadb = "mariadb" in self._version.lower()
        if is_mariadb != (self.name == "mariadb"):
            raise DatabaseError(
                f"The server says that it is {self._version}: set engine={'mariadb' if is_mariadb else 'mysql'} for it."
            )
        if self._numbers()[:2] < self.minimum:
            raise DatabaseError(
                f"{self.label} {self._version} is too old: {'.'.join(map(str, self.minimum))} is the first one whose schema "
                "changes happen wholly or not at all."
            )

    def _numbers(self) -> tuple:
        return tuple(int(number) for number in re.findall(r"\d+", self._version)[:3])

    @classmethod
    def from_options(cls, params: dict, create: bool) -> MysqlEngine:
        engine = super().from_options(params, create)
        asked = not params["connection_string"] and params["ssl_mode"] in ("require", "verify-ca", "verify-full")
        if asked and not engine.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["value"]:
            engine.close()
            raise DatabaseError(
                f"{cls.label}: the connection is not encrypted, although ssl_mode is {params['ssl_mode']}: the server has "
                "no TLS. Give it a certificate, or set ssl_mode=prefer."
            )
        return engine

    @classmethod
    def connection_string(cls, params: dict, application_name: str) -> str:
        given = params.get("connection_string")
        if given:
            option = int(re.sub(r"\D", "", odbc_parts(given).get("option", "")) or 0) | _FOUND_ROWS
            # The driver takes the last of two values of one key.
            return f"{given.rstrip('; ')};OPTION={option}"
        driver = params.get("odbc_driver") or cls._driver()
        parts = {
            "DRIVER": odbc_quote(driver),
            **(
                {"SOCKET": _bare(params, "login_unix_socket")}
                if params["login_unix_socket"]
                else {"SERVER": _bare(params, "login_host"), "PORT": params["login_port"] or 3306}
            ),
            "DATABASE": _bare(params, "login_db"),
            "UID": _bare(params, "login_user"),
            "PWD": odbc_quote(params["login_password"]) if params["login_password"] else "",
            **_encryption(driver, params["ssl_mode"]),
            "OPTION": _FOUND_ROWS,
        }
        return ";".join(f"{key}={value}" for key, value in parts.items() if value != "")

    @classmethod
    def _driver(cls) -> str:
        installed = installed_drivers()
        for wanted in cls.drivers:
            for driver in installed:
                if driver.startswith(wanted) and "ANSI" not in driver.upper():
                    return driver
        raise DatabaseError(
            f"No ODBC driver for {cls.label} is registered (found: {', '.join(installed) or 'none'}): install it with "
            f"'apt install {cls.packages[0]}' or 'dnf install {cls.packages[1]}', or name one with odbc_driver."
        )

    def _connect(self):
        connection = super()._connect()
        connection.maxwrite = _LONGEST_PARAMETER
        return connection

    def _own(self) -> dict:
        """Return the settings that our own statements rely on; a script has the server's or its own instead."""
        return {
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
            "time_zone": "+00:00",
            "sql_select_limit": 2**64 - 1,
            "sql_safe_updates": 0,
            self.read_only: 0,
            self.statement_timeout: 0,
        }

    def _own_now(self) -> dict:
        """Return what these settings are at the moment."""
        row = self.query("SELECT " + ", ".join(f"@@{name} AS {name}" for name in self._own()))[0]
        return {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}

    def _take_session(self) -> None:
        self._assign(self._own())

    def _assign(self, values: dict) -> None:
        def literal(value) -> str:
            return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)

        self.execute("SET " + ", ".join(f"SESSION {name} = {literal(value)}" for name, value in values.items()))

    def begin_script(self) -> None:
        """Give the script the server's own sql_mode, time zone and limits, or what an earlier statement of it has set."""
        self._assign(self._script_values or self._initial)

    def pause_script(self) -> None:
        """Keep what the script has set, for its next statement, and go back to our own."""
        if self._before_script is not None:
            self._script_values = self._own_now()
        self._take_session()

    def reset_session(self, lock_timeout: float | None = None) -> None:
        """Undo what a script has set, whatever it was, and its USE; user variables and temporary tables stay to the end."""
        before, self._before_script, self._script_values = self._before_script, None, None
        if before is not None:
            now = self._variables()
            self._restore({name: value for name, value in before.items() if now.get(name) != value and name not in _MOVING})
            self.execute(f"USE {self.quote(self._home)}")
        self._take_session()
        self.set_lock_timeout(lock_timeout)

    def _variables(self) -> dict:
        return {row["variable_name"]: row["value"] for row in self.query("SHOW SESSION VARIABLES")}

    def _restore(self, changed: dict) -> None:
        for name, value in changed.items():
            literal = value if re.fullmatch(r"-?\d+(\.\d+)?", value or "") else "'" + (value or "").replace("'", "''") + "'"
            try:
                self.execute(f"SET SESSION {name} = {literal}")
            except DatabaseError:
                continue  # a counter or a fact of the server, which no script can have set

    def run_script_statement(self, statement: Statement) -> None:
        if self._before_script is None and not (statement.words and statement.words[0] in _LEAVES_SESSION_ALONE):
            self._before_script = self._variables()
        text, first = statement.text, statement.words[:1]
        if first and first[0] in _WRAPPED and self.name == "mariadb":
            text, first = f"BEGIN NOT ATOMIC {text}; END", ("BEGIN",)
        cursor = self._run(text, ())
        try:
            # Asked for more results behind a body with semicolons, the driver crashes; only these two can have more.
            while first in (("CALL",), ("BEGIN",)) and cursor.nextset():
                continue
            cursor.close()
        except pyodbc.Error as error:
            raise self._mapped(error) from error

    def set_lock_timeout(self, seconds: float | None) -> None:
        """Bound waits for metadata and row locks, in whole seconds: the server knows no shorter ones."""
        whole = _DEFAULT_LOCK_SECONDS if seconds is None else max(1, math.ceil(seconds))
        self.execute(f"SET SESSION lock_wait_timeout = {whole}, SESSION innodb_lock_wait_timeout = {whole}")

    def set_statement_timeout(self, seconds: float | None) -> None:
        """Bound every statement on MariaDB, only SELECT on MySQL, which has nothing for others."""
        value = self._initial[self.statement_timeout]
        if seconds is not None:
            value = max(1, round(seconds * 1000)) * self.statement_timeout_unit / 1000
            value = int(value) if self.statement_timeout_unit == 1000 else value
        self.execute(f"SET SESSION {self.statement_timeout} = {value}")

    def recent_sessions(self) -> int | None:
        """Return None where nobody was seen and this user, without the right PROCESS, sees its own sessions only."""
        found = max(self.query(catalog.RECENT)[0]["n"], self.busy_sessions() or 0)
        return found or (0 if self.query(catalog.MAY_SEE_OTHERS)[0]["n"] else None)

    def joins_transaction(self, statement: Statement) -> bool:
        """Return whether it changes rows and nothing else: everything else commits implicitly, or may."""
        return bool(statement.words) and statement.words[0] in _IN_TRANSACTION and not _FILE.search(statement.text)

    def undone_with_count(self, statement: Statement) -> bool:
        return not catalog.may_be_beyond_transactions(self, statement)

    def is_atomic(self, statement: Statement) -> bool:
        if statement.words[:2] == ("SET", "STATEMENT"):
            return not _FOR_PIECEWISE.search(statement.text)
        return not (statement.words[:1] and statement.words[0] in _PIECEWISE) or bool(_PLAIN_IMMEDIATE.match(statement.text))

    def session_state(self, statement: Statement) -> str:
        first = statement.words[0] if statement.words else ""
        if _LOST_WITH_SESSION.search(statement.text) and first in ("SELECT", "SET", "CREATE"):
            return "lost"
        if statement.words[:2] == ("SET", "STATEMENT"):
            return ""  # what it sets is for the statement behind it, which is what counts
        if first == "SET":
            if re.match(r"(?i)set\s+(global|persist|persist_only|password|role\b|default)\b", statement.text):
                return ""
            return "lost" if _COMPUTED.search(statement.text) else "again"
        return "again" if first in ("USE", "PREPARE") or (not first and " SET " in statement.text.upper()) else ""

    def has_happened(self, question: Question) -> bool | None:
        return catalog.has_happened(self, question)

    def try_session_lock(self, name: str) -> bool:
        return self.query("SELECT get_lock(?, 0) AS taken", (self._lock_key(name),))[0]["taken"] == 1

    def release_session_lock(self, name: str) -> None:
        self.query("SELECT release_lock(?) AS freed", (self._lock_key(name),))

    def session_lock_holder(self, name: str) -> Blocker | None:
        holder = self.query("SELECT is_used_lock(?) AS id", (self._lock_key(name),))[0]["id"]
        if holder is None:
            return None
        return catalog.session(self, int(holder))

    def _lock_key(self, name: str) -> str:
        """Return a name of one length for any database and ledger: the lock is the whole server's."""
        return "everup " + hashlib.sha256(f"{self.schema}\0{name}".encode()).hexdigest()[:48]

    def _blockers(self, connection) -> list[Blocker]:
        return catalog.blockers(connection, self._id)

    def _mapped(self, error) -> DatabaseError:
        found = _NATIVE.findall(str(error))
        number = int(found[-1]) if found else 0
        state = error.args[0] if error.args else ""
        text = re.sub(r"^(\[[^\]]*\]\s*)+", "", driver_text(error))
        if number in _STATEMENT_TIMEOUTS:
            text = f"the statement was stopped by its statement time-out: {text}"
        kind = LockTimeout if number in _LOCK_TIMEOUTS else DatabaseError
        return kind(f"{self.label}: {text} (error {number}, SQLSTATE {state})", sqlstate=state, number=number)

    def create_schema(self) -> None:
        if not self.query("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", (self.schema,)):
            self.execute(f"CREATE DATABASE IF NOT EXISTS {self.quote(self.schema)}")

    def table_exists(self, table: str) -> bool:
        return self.has_happened(Question("table", (self.quote(self.schema), self.quote(table)), True)) is True

    def capabilities(self) -> dict[str, bool]:
        return {**super().capabilities(), **catalog.capabilities(self, self._numbers())}

    def settings(self) -> dict:
        return catalog.settings(self)

    def server_version(self) -> str:
        return self._version

    def now(self) -> str:
        return "UTC_TIMESTAMP(3)"

    def later(self, seconds: float) -> str:
        return f"(UTC_TIMESTAMP(3) + INTERVAL {round(seconds * 1_000_000)} MICROSECOND)"

    def quote(self, identifier: str) -> str:
        return "`" + identifier.replace("`", "``") + "`"

    def check_statement(self, statement: Statement, source: str, in_transaction: bool) -> None:
        words = statement.words

        def refuse(why: str) -> None:
            raise ScriptError(source, statement.line, statement.column, why)

        if words[:3] != ("BEGIN", "NOT", "ATOMIC"):
            super().check_statement(statement, source, in_transaction=False)
        if words[:1] == ("XA",):
            refuse("XA inside a script: leave transactions to everup and take it out")
        if words[:2] in (("LOCK", "TABLES"), ("LOCK", "TABLE"), ("UNLOCK", "TABLES")):
            refuse(f"{' '.join(words[:2])} would keep everup from its own tables between two statements: take it out")
        if words[:1] == ("SET",) and re.search(r"(?i)\bautocommit\b", statement.text):
            refuse("SET autocommit inside a script: leave transactions to everup and take it out")
        if words[:1] == ("SET",) and re.search(r"(?i)\btimestamp\s*:?=", statement.text):
            refuse("SET timestamp would stop the clock of everup's own tables: take it out")
        if words[:2] == ("SET", "TRANSACTION"):
            refuse("SET TRANSACTION is for the next transaction alone: write SET SESSION TRANSACTION instead")
        wrapped = words[:1] and words[0] in _WRAPPED and self.name != "mariadb" and "MySQL" not in self._connection_string
        if wrapped or (not words and _HIDDEN_RESULT.match(statement.text)):
            what = words[0] if words else "a comment that runs as a query"
            refuse(f"{what} cannot be sent through this ODBC driver, whose result it does not expect: put it in a procedure")
        if statement.has_marker:
            refuse("a question mark outside quotes is a parameter, and a script has none: take it out")


class MariadbEngine(MysqlEngine):
    """One session of a MariaDB server, 10.6 or newer."""

    name = "mariadb"
    label = "MariaDB"
    drivers = ("MariaDB Unicode", "MariaDB ODBC", "MariaDB")
    minimum = (10, 6)
    statement_timeout = "max_statement_time"
    statement_timeout_unit = 1
    read_only = "tx_read_only"


def _bare(params: dict, option: str) -> str:
    """Return an option as both drivers read it."""
    value = params[option] or ""
    if any(character in value for character in ";{}"):
        raise DatabaseError(f"{option} may not hold ';', '{{' or '}}' here: give a whole connection_string.")
    return value


def _encryption(driver: str, ssl_mode: str) -> dict:
    """Return the driver's words for ssl_mode.

    Raises:
        DatabaseError: the driver has none.
    """
    if "mysql" in driver.lower():
        modes = {"disable": "DISABLED", "require": "REQUIRED", "verify-ca": "VERIFY_CA", "verify-full": "VERIFY_IDENTITY"}
        return {"SSLMODE": modes.get(ssl_mode, "PREFERRED")}
    if ssl_mode == "verify-ca":
        raise DatabaseError(
            "ssl_mode=verify-ca is not known to MariaDB Connector/ODBC: use verify-full, or SSLCA in connection_string."
        )
    return {"require": {"FORCETLS": 1}, "verify-full": {"FORCETLS": 1, "SSLVERIFY": 1}}.get(ssl_mode, {})
