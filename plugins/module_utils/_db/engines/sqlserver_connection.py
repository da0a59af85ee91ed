# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which ODBC driver reaches a SQL Server, and how the connection options are written for it.

Facts relied on: Driver 18 encrypts unless told otherwise, Encrypt=strict exists from 18 on (Microsoft Learn, "DSN and
connection string keywords and attributes"); Authentication and MultiSubnetFailover are keywords of Microsoft's drivers
("Using Microsoft Entra ID with the ODBC driver", "Connection string keywords and DSNs - Linux and macOS"). FreeTDS has Port
and Encryption in their place and needs TDS_Version 7.3 or newer for datetime2 (FreeTDS user guide, "ODBC connection
attributes", "Choosing a TDS protocol version"). The package mssql-python-odbc on PyPI carries Driver 18 as a library, which
unixODBC loads by its path.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import re
import sys
from pathlib import Path

from ..._redact import odbc_parts, odbc_quote
from ..errors import DatabaseError
from .odbc import installed_drivers

PACKAGE = "mssql_python_odbc"
_MICROSOFT = re.compile(r"ODBC Driver (\d+) for SQL Server$")
_DEBIAN_PACKAGES = {
    "libodbcinst": "odbcinst",
    "libodbc": "unixodbc",
    "libltdl": "libltdl7",
    "libkrb5": "libkrb5-3",
    "libgssapi_krb5": "libgssapi-krb5-2",
}
_FAMILIES = {"debian": "debian_ubuntu", "ubuntu": "debian_ubuntu", "suse": "suse", "alpine": "alpine"}


def choose_driver(wanted: str | None) -> str:
    """Return the driver as DRIVER= takes it: the wanted one, Microsoft's newest, FreeTDS, or the library of the PyPI package.

    Raises:
        DatabaseError: there is none, or the library lacks another one; names what to install.
    """
    if wanted:
        return wanted
    installed = installed_drivers()
    microsoft = [name for name in installed if _MICROSOFT.match(name)]
    if microsoft:
        return max(microsoft, key=lambda name: int(_MICROSOFT.match(name).group(1)))
    if "FreeTDS" in installed:
        return "FreeTDS"
    library = packaged_library()
    if library is None:
        raise DatabaseError(
            f"No ODBC driver for SQL Server is registered (found: {', '.join(installed) or 'none'}): install Microsoft's "
            "msodbcsql18, or 'apt install tdsodbc' (FreeTDS), or 'pip install mssql-python-odbc' into this Python, or name one "
            "with odbc_driver."
        )
    _require_loadable(library)
    return str(library)


def packaged_library() -> Path | None:
    """Return the library of Driver 18 in the package mssql-python-odbc of this Python, None when it is not there."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    libraries = Path(next(iter(found.submodule_search_locations))) / "libs"
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        candidates = libraries.glob(f"macos/{machine}/lib/libmsodbcsql*.dylib")
    else:
        family = _family(Path("/etc/os-release"))
        candidates = libraries.glob(f"linux/{family}/{machine}/lib/libmsodbcsql-*.so*")
    return max(candidates, default=None)


def _family(os_release: Path) -> str:
    try:
        text = os_release.read_text(encoding="utf-8")
    except OSError:
        return "debian_ubuntu"
    names = re.findall(r"(?m)^ID(?:_LIKE)?=(.*)$", text)
    words = [word for name in names for word in re.findall(r"[a-z]+", name)]
    return next((_FAMILIES[word] for word in words if word in _FAMILIES), "rhel")


def _require_loadable(library: Path) -> None:
    """Load the library as unixODBC will: its own message for a library that is missing behind it is 'file not found'."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = re.match(r"(?P<name>lib[\w+-]*?)(?:-\d[\w.]*)?\.(?:so|dylib)", str(error))
        package = _DEBIAN_PACKAGES.get(missing.group("name"), "") if missing else ""
        needed = package or "unixodbc libltdl7 libkrb5-3 libgssapi-krb5-2"
        raise DatabaseError(
            f"Microsoft's Driver 18 in {library.parent} cannot be loaded: {error}. Install what it needs: 'apt install {needed}'."
        ) from None


def is_freetds(driver: str) -> bool:
    """Return whether a driver's name or path is FreeTDS's."""
    return bool(re.search(r"(?i)freetds|tdsodbc", driver))


def sqlserver_connection_string(params: dict, application_name: str) -> str:
    """Return the ODBC connection string of the connection options.

    Parameters:
        params: the module's connection options; connection_string may be a whole one, which gets what it lacks.
        application_name: what sys.dm_exec_sessions shows of us; at most 128 characters.

    Raises:
        DatabaseError: no driver is there, or the driver cannot do what an option asks for.
    """
    name = odbc_quote(application_name[:128])
    given = params.get("connection_string")
    if given:
        return _completed(given, params, name)
    driver = choose_driver(params.get("odbc_driver"))
    parts = {
        "DRIVER": odbc_quote(driver),
        "DATABASE": odbc_quote(params["login_db"]),
        "APP": name,
        **(_freetds(params) if is_freetds(driver) else _microsoft(params, driver)),
    }
    if params["authentication"] == "windows":
        parts["Trusted_Connection"] = "Yes"
    else:
        parts["UID"] = odbc_quote(params["login_user"]) if params["login_user"] else ""
        parts["PWD"] = odbc_quote(params["login_password"]) if params["login_password"] else ""
    return ";".join(f"{key}={value}" for key, value in parts.items() if value != "")


def _completed(given: str, params: dict, name: str) -> str:
    known = odbc_parts(given)
    ours = {"APP": name}
    driver = known.get("driver", "").strip("{}")
    if not {"driver", "dsn", "filedsn"} & set(known):
        driver = choose_driver(params.get("odbc_driver"))
        ours["DRIVER"] = odbc_quote(driver)
    if is_freetds(driver):
        ours["TDS_Version"] = "7.4"
    return given.rstrip("; ") + "".join(f";{key}={value}" for key, value in ours.items() if key.lower() not in known)


def _server(params: dict) -> tuple[str, int | None]:
    """Return host or host\\instance, and the port."""
    host, port = params["login_host"], params["login_port"]
    if any(character in host for character in ";{}=,"):
        raise DatabaseError("login_host may not hold ';', ',', '=', '{' or '}': give the port as login_port.")
    if "\\" in host and port:
        raise DatabaseError(
            f"login_host {host} names an instance and login_port a port: the port would win silently. Give one of the two."
        )
    return host, port


def _microsoft(params: dict, driver: str) -> dict:
    host, port = _server(params)
    encrypt = params["encrypt"]
    match = _MICROSOFT.match(driver)
    if encrypt == "strict" and match and int(match.group(1)) < 18:
        raise DatabaseError(f"encrypt: strict needs Microsoft's Driver 18 or newer, this is {driver}.")
    authentication = params["authentication"]
    return {
        "SERVER": f"{host},{port}" if port else host,
        "Encrypt": {"mandatory": "yes", "optional": "no"}.get(encrypt, encrypt),
        "TrustServerCertificate": "yes" if params["trust_server_certificate"] else "no",
        "MultiSubnetFailover": "Yes" if params["multi_subnet_failover"] else "",
        "Authentication": odbc_quote(authentication) if authentication not in ("sql", "windows") else "",
    }


def _freetds(params: dict) -> dict:
    host, port = _server(params)
    refused = {
        "encrypt: strict": params["encrypt"] == "strict",
        "multi_subnet_failover": params["multi_subnet_failover"],
        f"authentication: {params['authentication']}": params["authentication"] not in ("sql", "windows"),
    }
    for option, asked in refused.items():
        if asked:
            raise DatabaseError(f"{option} needs Microsoft's driver (msodbcsql18): FreeTDS does not have it.")
    return {
        "SERVER": host,
        "PORT": "" if "\\" in host else port or 1433,
        "TDS_Version": "7.4",
        "Encryption": "require" if params["encrypt"] == "mandatory" else "request",
    }
