# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The connection options every database module shares, and the one place that turns them into an engine."""

from __future__ import annotations

from .engines.base import Engine

ENGINES = ("sqlite", "postgresql", "mariadb", "mysql", "sqlserver")

CONNECTION_SPEC = {
    "engine": {"type": "str", "choices": [*ENGINES], "default": "sqlite"},
    "login_db": {"type": "str", "aliases": ["db", "database"]},
    "login_host": {"type": "str", "default": "localhost"},
    "login_port": {"type": "int"},
    "login_unix_socket": {"type": "str", "default": ""},
    "login_user": {"type": "str", "default": ""},
    "login_password": {"type": "str", "no_log": True},
    "connection_string": {"type": "str", "no_log": True},
    "odbc_driver": {"type": "str"},
    "ssl_mode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "default": "prefer",
    },
    "encrypt": {"type": "str", "choices": ["mandatory", "optional", "strict"], "default": "mandatory"},
    "trust_server_certificate": {"type": "bool", "default": False},
    "authentication": {"type": "str", "default": "sql"},
    "multi_subnet_failover": {"type": "bool", "default": False},
    "connect_timeout": {"type": "int", "default": 10},
    "application_name": {"type": "str", "default": "everup.deploy"},
    "schema": {"type": "str", "default": ""},
    "table_prefix": {"type": "str", "default": "everup_"},
}


def engine_class(name: str) -> type[Engine]:
    """Return the class of an engine of ENGINES.

    No other engine's code is imported: Ansible packs a module anew for each start, and whatever it imports is compiled each time.
    """
    if name == "postgresql":
        from .engines.postgresql import PostgresqlEngine as Found
    elif name == "mariadb":
        from .engines.mysql import MariadbEngine as Found
    elif name == "mysql":
        from .engines.mysql import MysqlEngine as Found
    elif name == "sqlserver":
        from .engines.sqlserver import SqlserverEngine as Found
    else:
        from .engines.sqlite import SqliteEngine as Found
    return Found


def connect(params: dict, create: bool = False) -> Engine:
    """Connect to the database that the options name.

    Parameters:
        params: module parameters with CONNECTION_SPEC.
        create: an embedded database that does not exist yet is created.

    Raises:
        DatabaseError: options are missing or contradict each other, or the connection fails.
    """
    return engine_class(params["engine"]).from_options(params, create)
