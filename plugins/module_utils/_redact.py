# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the secrets among module parameters and takes them out of anything that leaves the process."""

from __future__ import annotations

import re

MASK = "********"
# In an ODBC connection string a value is plain up to the next ';' or in braces with '}' doubled
# (Microsoft, "SQLDriverConnect function": connection string syntax).
_ODBC_SECRET = re.compile(r"(?i)\b(?:PWD|Password|AccessToken)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)")


def odbc_quote(value: str) -> str:
    """Return value as it is written in an ODBC connection string: in braces, '}' doubled."""
    return "{" + str(value).replace("}", "}}") + "}"


def secrets_of(params: dict, argument_spec: dict) -> set[str]:
    """Return every text that must not be seen: each ``no_log`` parameter and the forms a driver may echo it in."""
    secrets: set[str] = set()
    for name, option in argument_spec.items():
        value = params.get(name)
        if not option.get("no_log") or not isinstance(value, str) or not value:
            continue
        secrets.update({value, odbc_quote(value)[1:-1]})
        for match in _ODBC_SECRET.findall(value):
            plain = match[1:-1].replace("}}", "}") if match.startswith("{") else match.strip()
            secrets.update({plain, odbc_quote(plain)[1:-1]})
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
