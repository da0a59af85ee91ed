"""Which driver reaches a SQL Server, how options are written for it, and what the real drivers say of a closed port."""

import ctypes
import importlib.util
import json
import socket

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC, connect
from ansible_collections.everup.deploy.plugins.module_utils._db.engines import odbc, sqlserver_connection
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver_connection import (
    choose_driver,
    packaged_library,
    sqlserver_connection_string,
)
from ansible_collections.everup.deploy.plugins.module_utils._db.engines.sqlserver_errors import mapped, news_of
from ansible_collections.everup.deploy.plugins.module_utils._db.errors import DatabaseError, LockTimeout
from ansible_collections.everup.deploy.plugins.module_utils._redact import odbc_parts, secrets_of
from ansible_collections.everup.deploy.plugins.modules import migration_info
from ansible_collections.everup.deploy.tests.support.databases import run_main

DEFAULTS = {name: option.get("default") for name, option in CONNECTION_SPEC.items()}
LOGIN = {"login_host": "db", "login_db": "sh}op", "login_user": "owner", "login_password": "a}b;c'%"}
MICROSOFT = "ODBC Driver 18 for SQL Server"


def parts(driver=MICROSOFT, **options):
    return odbc_parts(sqlserver_connection_string({**DEFAULTS, **LOGIN, "odbc_driver": driver, **options}, "everup.deploy 2.4.0"))


def test_microsofts_driver():
    assert parts() == {
        "driver": "{ODBC Driver 18 for SQL Server}",
        "database": "{sh}}op}",
        "app": "{everup.deploy 2.4.0}",
        "server": "db",
        "encrypt": "yes",
        "trustservercertificate": "no",
        "uid": "{owner}",
        "pwd": "{a}}b;c'%}",
    }


def test_freetds():
    assert parts("FreeTDS") == {
        "driver": "{FreeTDS}",
        "database": "{sh}}op}",
        "app": "{everup.deploy 2.4.0}",
        "server": "db",
        "port": "1433",
        "tds_version": "7.4",
        "encryption": "require",
        "uid": "{owner}",
        "pwd": "{a}}b;c'%}",
    }


@pytest.mark.parametrize(
    ("driver", "options", "expected"),
    [
        (MICROSOFT, {"login_port": 1444}, {"server": "db,1444"}),
        (MICROSOFT, {"login_host": "db\\SALES"}, {"server": "db\\SALES"}),
        (MICROSOFT, {"encrypt": "strict"}, {"encrypt": "strict"}),
        (
            MICROSOFT,
            {"encrypt": "optional", "trust_server_certificate": True},
            {"encrypt": "no", "trustservercertificate": "yes"},
        ),
        (MICROSOFT, {"multi_subnet_failover": True}, {"multisubnetfailover": "Yes"}),
        (MICROSOFT, {"authentication": "ActiveDirectoryMsi"}, {"authentication": "{ActiveDirectoryMsi}", "uid": "{owner}"}),
        (
            MICROSOFT,
            {"authentication": "windows"},
            {"trusted_connection": "Yes", "uid": None, "pwd": None, "authentication": None},
        ),
        ("FreeTDS", {"login_port": 1444}, {"server": "db", "port": "1444"}),
        ("FreeTDS", {"login_host": "db\\SALES"}, {"server": "db\\SALES", "port": None}),
        ("/usr/lib/libtdsodbc.so", {"encrypt": "optional"}, {"encryption": "request"}),
        ("FreeTDS", {"authentication": "windows"}, {"trusted_connection": "Yes", "uid": None, "pwd": None}),
    ],
)
def test_options(driver, options, expected):
    found = parts(driver, **options)
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("driver", "options", "what"),
    [
        (MICROSOFT, {"login_host": "db;PWD=x"}, "login_host may not hold"),
        (MICROSOFT, {"login_host": "db,1433"}, "give the port as login_port"),
        (MICROSOFT, {"login_host": "db\\A", "login_port": 1}, "names an instance and login_port a port"),
        ("ODBC Driver 17 for SQL Server", {"encrypt": "strict"}, "needs Microsoft's Driver 18"),
        ("FreeTDS", {"encrypt": "strict"}, "encrypt: strict needs Microsoft's driver"),
        ("FreeTDS", {"multi_subnet_failover": True}, "multi_subnet_failover needs Microsoft's driver"),
        ("FreeTDS", {"authentication": "ActiveDirectoryMsi"}, "authentication: ActiveDirectoryMsi needs Microsoft's driver"),
    ],
)
def test_options_that_are_refused(driver, options, what):
    with pytest.raises(DatabaseError, match=what):
        parts(driver, **options)


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ("DSN=shop;", {"app": "{me}"}),
        ("Driver={FreeTDS};Server=x", {"app": "{me}", "tds_version": "7.4"}),
        ("DRIVER=FreeTDS;APP={own};tds_version=7.3", {}),
        ("SERVER=x", {"app": "{me}", "driver": "{chosen}"}),
    ],
)
def test_a_whole_connection_string_gets_what_it_lacks(given, added):
    options = {**DEFAULTS, "connection_string": given, "odbc_driver": "chosen"}
    found = odbc_parts(sqlserver_connection_string(options, "me"))
    assert {key: value for key, value in found.items() if key not in odbc_parts(given)} == added


def test_secrets_of_a_connection_string():
    text = "DSN=x;PWD={a}}b};KeystoreSecret=hush;ClientKey=file:k;UID=owner"
    secrets = secrets_of({"connection_string": text}, CONNECTION_SPEC)
    assert {"a}b", "hush", "file:k"} <= secrets
    assert "owner" not in secrets


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        (["FreeTDS", "ODBC Driver 17 for SQL Server", MICROSOFT], MICROSOFT),
        (["ODBC Driver 9 for SQL Server", "ODBC Driver 17 for SQL Server", "PostgreSQL"], "ODBC Driver 17 for SQL Server"),
        (["PostgreSQL Unicode", "FreeTDS"], "FreeTDS"),
    ],
)
def test_the_driver_that_is_chosen(monkeypatch, registered, expected):
    monkeypatch.setattr(sqlserver_connection, "installed_drivers", lambda: registered)
    assert choose_driver(None) == expected
    assert choose_driver("mine") == "mine"


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A folder that looks like the PyPI package's, with nothing registered beside it."""
    monkeypatch.setattr(sqlserver_connection, "installed_drivers", lambda: ["SQLite3"])
    monkeypatch.setattr(sqlserver_connection.platform, "machine", lambda: "AMD64")
    folder = tmp_path / "pretended_package"
    for family in ("debian_ubuntu", "rhel"):
        path = folder / f"libs/linux/{family}/x86_64/lib/libmsodbcsql-18.6.so.2.1"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no library")
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sqlserver_connection, "PACKAGE", "pretended_package")
    monkeypatch.setattr(sqlserver_connection, "_family", lambda _path: "debian_ubuntu")
    return folder


def test_the_library_of_the_package(package, monkeypatch):
    expected = package / "libs/linux/debian_ubuntu/x86_64/lib/libmsodbcsql-18.6.so.2.1"
    assert packaged_library() == expected
    with pytest.raises(DatabaseError, match=r"cannot be loaded: .*apt install unixodbc libltdl7 libkrb5-3 libgssapi-krb5-2"):
        choose_driver(None)

    def lacks(_path):
        raise OSError("libltdl.so.7: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", lacks)
    with pytest.raises(DatabaseError, match="'apt install libltdl7'"):
        choose_driver(None)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: path)
    assert choose_driver(None) == str(expected)


def test_no_driver_at_all(package, monkeypatch):
    monkeypatch.setattr(sqlserver_connection, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(DatabaseError, match=r"No ODBC driver for SQL Server is registered \(found: SQLite3\): install"):
        choose_driver(None)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("ID=debian", "debian_ubuntu"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "debian_ubuntu"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "suse"),
        ('NAME=x\nID=rocky\nID_LIKE="rhel centos fedora"', "rhel"),
        ("ID=alpine", "alpine"),
    ],
)
def test_the_family_of_a_distribution(tmp_path, text, family):
    (tmp_path / "os-release").write_text(text)
    assert sqlserver_connection._family(tmp_path / "os-release") == family


# What drivers say

SERVER_18 = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


@pytest.mark.parametrize(
    ("state", "text", "kind", "said"),
    [
        ("42S02", f"[42S02] {SERVER_18}Invalid object name 'x'. (208) (SQLExecDirectW)", DatabaseError, "name 'x'. (error 208)"),
        ("42000", f"[42000] {SERVER_18}Lock request time out. (1222) (SQLExecDirectW)", LockTimeout, "time out. (error 1222)"),
        ("40001", "[40001] [FreeTDS][SQL Server]Deadlocked. (1205) (SQLMoreResults)", LockTimeout, "Deadlocked. (error 1205)"),
        (
            "42000",
            "[42000] [FreeTDS][SQL Server]Not prepared. (8180) (SQLPrepare); [42000] [FreeTDS][SQL Server]Lock time out. (1222)",
            LockTimeout,
            "Not prepared.; Lock time out. (error 1222)",
        ),
        (
            "42000",
            f"[42000] {SERVER_18}Column (1222) is (1205) wide; see it. (102) (SQLExecDirectW)",
            DatabaseError,
            "Column (1222) is (1205) wide; see it. (error 102)",
        ),
        (
            "HYT00",
            f"[HYT00] {SERVER_18[:-12]}Query timeout expired (0) (SQLExecDirectW)",
            DatabaseError,
            "statement time-out: Query",
        ),
        ("08S01", "[08S01] [FreeTDS][SQL Server]Gone (0) (SQLExecDirectW)", DatabaseError, "Gone (SQLSTATE 08S01)"),
    ],
)
def test_errors_are_known_by_their_number(state, text, kind, said):
    error = mapped(Exception(state, text))
    assert type(error) is kind
    assert said in str(error)
    assert "[" not in str(error)


def test_news():
    messages = [
        ("[01000] (5701)", f"{SERVER_18}Changed database context"),
        ("[01000] (0)", f"{SERVER_18}[x] done"),
        ("01000", "y"),
    ]
    assert news_of(messages) == ["[x] done", "y"]
    assert news_of(None) == []


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def real_drivers():
    """The real drivers of this host: FreeTDS where it is registered, Microsoft's where the package is installed."""
    found = [name for name in odbc.installed_drivers() if name == "FreeTDS" or name.endswith("for SQL Server")]
    if importlib.util.find_spec(sqlserver_connection.PACKAGE):
        found.append(str(packaged_library()))
    return found


@pytest.mark.skipif(not real_drivers(), reason="no ODBC driver for SQL Server on this host")
def test_the_real_drivers_on_a_closed_port(closed_port):
    """The driver loads, reads the connection string and says that nobody is there; the password stays inside."""
    for driver in real_drivers():
        options = {**LOGIN, "engine": "sqlserver", "login_host": "127.0.0.1", "login_port": closed_port, "odbc_driver": driver}
        result = run_main(migration_info, {**options, "path": "/nowhere", "connect_timeout": 1})
        assert result["failed"]
        assert result["msg"].startswith("SQL Server: no connection to 127.0.0.1"), result
        assert any(text in result["msg"] for text in ("Login timeout expired", "Unable to connect", "TCP Provider")), result
        assert LOGIN["login_password"] not in json.dumps(result)


def test_a_driver_that_is_not_there(closed_port):
    with pytest.raises(DatabaseError, match="Is the driver installed on this host"):
        connect({**DEFAULTS, **LOGIN, "engine": "sqlserver", "odbc_driver": "/nowhere/libmsodbcsql.so"})


def test_what_is_no_option_of_sql_server():
    with pytest.raises(DatabaseError, match="SQL Server has no Unix socket"):
        connect({**DEFAULTS, **LOGIN, "engine": "sqlserver", "login_unix_socket": "/run"})
