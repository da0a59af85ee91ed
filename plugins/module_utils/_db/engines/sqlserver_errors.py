# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a driver's message says of a SQL Server: which error, which words, and whether it is worth another try.

Facts relied on: pyodbc gives the server's own error number in the text only, behind the words of each record; SQLSTATE does
not tell a lock time-out (42000) from a syntax error. FreeTDS and Microsoft's driver order several records differently, so
that every number counts. Numbers are those of Microsoft Learn, "Database engine events and errors": 1222 lock time-out, 1205
deadlock victim, 3960 update conflict under SNAPSHOT, 5061 ALTER DATABASE found others in the database, 5701 and 5703 news
about the session.
"""

from __future__ import annotations

import re

from ..errors import DatabaseError, LockTimeout

_LOCK_TIMEOUT_ERRORS = (1222, 1205, 3960, 5061)
_TIMEOUT_STATES = ("HYT00", "S1T00")
_CONSEQUENCES = (0, 8180, 3621)  # "could not be prepared", "has been terminated": said besides the error itself
_NO_NEWS = (5701, 5703)
_LONGEST_MESSAGE = 1000
_DRIVER = r"(?:(?:\[[^\]]*\]){1,2}?\[SQL Server\]|(?:\[[^\]]*\])+)"
_DIAGNOSTIC = re.compile(r"\[\w{5}\]\s*" + _DRIVER + "?")
_BEHIND = r"\s*\((-?\d+)\)(?=\s*(?:\(SQL\w+\)|;\s*\[\w{5}\]|$))"
_FUNCTION = re.compile(r"\s*\(SQL\w+\)(?=\s*(?:;\s*\[\w{5}\]|$))")


def mapped(error) -> DatabaseError:
    """Return a driver's error as ours, one that another try may mend as LockTimeout; its number stands in the details."""
    text = str(error.args[-1] if error.args else error)
    state = str(error.args[0]) if len(error.args) > 1 else ""  # pyodbc's own errors have none
    if state in _TIMEOUT_STATES:
        return DatabaseError(
            f"SQL Server: the statement was stopped by its statement time-out: {plain_text(text)}", sqlstate=state
        )
    numbers = [int(number) for number in re.findall(_BEHIND, text)]
    numbers.sort(key=lambda n: (n not in _LOCK_TIMEOUT_ERRORS, n in _CONSEQUENCES))
    number = numbers[0] if numbers else 0
    kind = LockTimeout if number in _LOCK_TIMEOUT_ERRORS else DatabaseError
    shown = f" (error {number})" if number else f" (SQLSTATE {state})" if state else ""
    return kind(f"SQL Server: {plain_text(text)}{shown}", sqlstate=state, number=number)


def plain_text(text: str) -> str:
    """Return the server's own sentences: without states, driver names, numbers and function names."""
    return " ".join(_DIAGNOSTIC.sub("", _FUNCTION.sub("", re.sub(_BEHIND, "", text))).split())


def news_of(messages) -> list[str]:
    """Return the texts of a cursor's messages, without those about the session itself."""
    said = []
    for head, text in messages or ():
        number = re.search(r"\((-?\d+)\)", str(head))
        if number is None or int(number.group(1)) not in _NO_NEWS:
            said.append(re.sub("^" + _DRIVER, "", str(text))[:_LONGEST_MESSAGE])
    return said
