# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the secrets among module parameters and takes them out of anything that leaves the process."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus, unquote_plus

MASK = "********"
# In an ODBC connection string a value is plain up to the next ';' or in braces with '}' doubled
# (Microsoft, "SQLDriverConnect function": connection string syntax).
_ODBC_PART = re.compile(r"\s*(?P<key>[^=;{}]+?)\s*=\s*(?P<value>\{(?:[^}]|\}\})*\}|[^;]*)")
_ODBC_SECRETS = ("pwd", "password", "accesstoken", "sslkeypassword", "keystoresecret", "clientkey", "clientcertificate")
# Inside psqlODBC's pqopt={...} stand libpq's own options (PostgreSQL documentation, 34.1.1.1).
_LIBPQ_SECRET = re.compile(r"(?i)\b(?:ssl)?password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s']+)")


def odbc_quote(value: str) -> str:
    """Return value as it is written in an ODBC connection string: in braces, '}' doubled."""
    return "{" + str(value).replace("}", "}}") + "}"


def odbc_parts(text: str) -> dict[str, str]:
    """Return the values of an ODBC connection string as they are written in it, by key in lower case."""
    return {match.group("key").lower(): match.group("value") for match in _ODBC_PART.finditer(text)}


def _unquoted(value: str) -> str:
    return value[1:-1].replace("}}", "}") if value.startswith("{") else value.strip()


def _forms(secret: str) -> set[str]:
    """Return a secret as a driver, a server or a JSON text may echo it; a traceback escapes it as libpq or JSON does."""
    return {
        secret,
        odbc_quote(secret)[1:-1],
        secret.replace("'", "''"),
        secret.replace("\\", "\\\\").replace("'", "\\'"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote_plus(secret),
        unquote_plus(secret),
    }


def _texts(value) -> list[str]:
    """Return every text inside an option's value."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def secrets_of(params: dict, argument_spec: dict) -> set[str]:
    """Return every text that must not be seen: each ``no_log`` parameter and the forms a driver may echo it in."""
    secrets: set[str] = set()
    for name, option in argument_spec.items():
        value = params.get(name)
        if not option.get("no_log"):
            continue
        for text in _texts(value):
            secrets.update(_forms(text))
        if name != "connection_string" or not value:
            continue
        parts = odbc_parts(value)
        for key in _ODBC_SECRETS:
            secrets.update(_forms(_unquoted(parts.get(key, ""))))
        for match in _LIBPQ_SECRET.findall(_unquoted(parts.get("pqopt", ""))):
            plain = re.sub(r"\\(.)", r"\1", match[1:-1]) if match.startswith("'") else match
            secrets.update(_forms(plain))
    return {secret for secret in secrets if secret}


def redact(value, secrets: set[str]):
    """Return value (text, or nested dict/list/tuple of it) with every secret replaced by asterisks."""
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {redact(key, secrets): redact(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, secrets) for item in value]
    return value
