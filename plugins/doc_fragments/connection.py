# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of every module that talks to the application's database."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  engine:
    description: The database engine.
    type: str
    choices: [sqlite, postgresql, mariadb, mysql, sqlserver]
    default: sqlite
  login_db:
    description:
      - Name of the database; for SQLite the path of the database file.
      - Required unless O(connection_string) is given.
    type: str
    aliases: [db, database]
  login_host:
    description: Host of the database server; for SQL Server also C(host\instance), or the listener of an availability group.
    type: str
    default: localhost
  login_port:
    description: Port of the database server; by default the engine's usual one.
    type: int
  login_unix_socket:
    description:
      - Folder of the server's Unix socket, for MariaDB and MySQL the socket itself; used in place of O(login_host).
    type: str
    default: ''
  login_user:
    description: The user to connect as. It needs the right to change the schema.
    type: str
    default: ''
  login_password:
    description: The user's password. It never appears in output, diffs, errors or the ledger.
    type: str
  connection_string:
    description:
      - A whole ODBC connection string, in place of the other login options.
      - For PostgreSQL C(Protocol=7.4-1), C(BoolsAsChar=0) and C(UseServerSidePrepare=0) are added unless it names its own.
      - For MariaDB and MySQL the flag 2 (rows found are counted, not rows changed) is added to C(OPTION).
      - For SQL Server C(APP) is added unless it names its own, C(TDS_Version=7.4) with FreeTDS, and C(DRIVER) when it names
        neither driver nor DSN.
    type: str
  odbc_driver:
    description:
      - The ODBC driver's registered name, or the path of its library; by default the first one found for the engine.
      - MariaDB Connector/ODBC serves both V(mariadb) and V(mysql); MySQL Connector/ODBC serves V(mysql).
      - For SQL Server by default Microsoft's newest registered driver, else FreeTDS, else the library of Driver 18 in the Python
        package C(mssql-python-odbc).
    type: str
  ssl_mode:
    description:
      - How the connection to the server is encrypted and verified, in the words of libpq's C(sslmode).
      - MariaDB Connector/ODBC encrypts from V(require) on, has no V(verify-ca), and verifies with V(verify-full). A connection
        that is not encrypted although V(require) or more was asked for is refused.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  encrypt:
    description:
      - How the connection to a SQL Server is encrypted. V(mandatory) encrypts all of it, V(strict) in addition before the first
        packet (TDS 8.0, Microsoft's Driver 18 and SQL Server 2022), V(optional) only what the server insists on.
    type: str
    choices: [mandatory, optional, strict]
    default: mandatory
  trust_server_certificate:
    description:
      - Whether a SQL Server's certificate goes unchecked, as a self-signed one needs it. FreeTDS checks certificates only where
        its own C(freetds.conf) names a C(ca file).
    type: bool
    default: false
  authentication:
    description:
      - How to log in to a SQL Server. V(sql) is O(login_user) and O(login_password), V(windows) is Kerberos.
      - Anything else is handed to Microsoft's driver as its keyword C(Authentication), such as C(ActiveDirectoryMsi).
    type: str
    default: sql
  multi_subnet_failover:
    description: Whether Microsoft's driver tries all addresses of an availability group's listener at once.
    type: bool
    default: false
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
  application_name:
    description:
      - What the server's session list shows of this connection; MariaDB and MySQL show none.
      - On SQL Server the default is followed by the release, where it is known.
    type: str
    default: everup.deploy
  schema:
    description:
      - Schema of the collection's own tables; by default the first of the user's search path. Not for SQLite.
      - For MariaDB and MySQL a schema is a database; by default the one of O(login_db).
    type: str
    default: ''
  table_prefix:
    description: Prefix of the names of the collection's own tables.
    type: str
    default: everup_
  expand_history_table:
    description: Name of the history of the expand phase; by default O(table_prefix) and C(expand_history).
    type: str
  contract_history_table:
    description: Name of the history of the contract phase; by default O(table_prefix) and C(contract_history).
    type: str
requirements:
  - pyodbc, unixODBC and the psqlODBC driver, for PostgreSQL
  - pyodbc, unixODBC and MariaDB Connector/ODBC, for MariaDB and MySQL
  - pyodbc, unixODBC and Microsoft's ODBC driver 17 or 18 or FreeTDS, for SQL Server
"""
