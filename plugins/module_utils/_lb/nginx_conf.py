# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the upstreams of an nginx configuration file, and writes a member's state into one.

A member is a ``server`` line of an ``upstream`` block. Its state is the parameter ``down``, and what ``down`` is meant as stands
in a comment behind it, with the member's name where it has one::

    upstream shop {
        server 192.0.2.11:8080;                          # web1
        server 192.0.2.12:8080 weight=2 down;            # web2 [everup: drain]
    }

Facts relied on: ``down`` "marks the server as permanently unavailable", and a server without a port has port 80 (nginx
documentation, ngx_http_upstream_module, "server"); a word may be quoted, hold ``${name}`` and escaped characters, and ``#``
begins a comment where a word would begin (ngx_conf_read_token() in src/core/ngx_conf_file.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .base import CHANGING, DRAIN, MAINT, READY, STATES

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)|(?P<symbol>[{};])"""
    r"""|(?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\$\{[^}]*\}|\\.|[^\s{};\\])+|\\)""",
    re.DOTALL | re.VERBOSE,
)
_NAME = r"[A-Za-z0-9_.:-]+"
_COMMENT = re.compile(
    rf"[ \t]*\#[ \t]*(?:(?P<name>{_NAME})(?=[ \t]*(?:\[everup:|\Z)))?[ \t]*"
    rf"(?:\[everup: (?P<mark>{'|'.join(STATES)})(?P<pending> pending)?\])?[ \t]*(?P<rest>[^\n]*)"
)
_PORT = re.compile(r":[0-9]+\Z")


@dataclass(frozen=True)
class Server:
    """One ``server`` line.

    Attributes:
        name: as its comment says, else its address.
        address: ``host:port``, or ``unix:path``.
        weight: its share of requests.
        backup: whether it gets requests only once no other one is left.
        down: whether nginx leaves it out once it has loaded this file.
        mark: what the comment says the state is to be, empty without one.
        pending: nothing has yet said that nginx has loaded what the comment says.
        start, end: of the line's text in the file, the comment included.
        text: the line up to its semicolon.
        rest: what else the comment says.
        obstacle: why no state can be written into the line without losing something else; empty when one can.
    """

    name: str
    address: str
    weight: int
    backup: bool
    down: bool
    mark: str
    pending: bool
    start: int
    end: int
    text: str
    rest: str
    obstacle: str

    @property
    def state(self) -> str:
        """The administrative state; while a change is pending, nginx may do what it did before or what the file says."""
        if self.pending:
            return CHANGING
        if not self.down:
            return READY
        return self.mark if self.mark in (DRAIN, MAINT) else MAINT

    def written(self, state: str, pending: bool) -> str:
        """Return the line with a state."""
        words = [word for word in _words(self.text) if word != "down"]
        line = " ".join([*words, *(["down"] if state != READY else [])]) + ";"
        name = self.name if self.name != self.address else ""
        # Between a name and further words the mark stays, since it tells one from the other.
        marked = pending or state != READY or (name and self.rest)
        mark = f"[everup: {state}{' pending' if pending else ''}]" if marked else ""
        comment = " ".join(part for part in (name, mark, self.rest) if part)
        return f"{line} # {comment}" if comment else line


def upstreams(text: str) -> dict[str, list[Server]]:
    """Return the servers of each upstream block of a configuration file by the block's name."""
    found: dict[str, list[Server]] = {}
    words: list[str] = []
    start = 0
    block = None
    depth = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup in ("space", "comment"):
            continue
        if token.lastgroup == "word":
            if not words:
                start = token.start()
            words.append(token.group())
            continue
        symbol = token.group()
        if symbol == "{":
            if block is not None:
                depth += 1
            elif len(words) == 2 and words[0] == "upstream":
                block = found.setdefault(_unquoted(words[1]), [])
        elif symbol == "}" and block is not None:
            depth -= 1
            if depth < 0:
                block, depth = None, 0
        elif symbol == ";" and block is not None and not depth and len(words) > 1 and words[0] == "server":
            block.append(_server(text, words, start, token.end()))
        words = []
    return found


def first_argument(text: str, directive: str) -> str:
    """Return the first argument of a directive that stands outside all blocks, empty where there is none."""
    words: list[str] = []
    depth = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "word":
            words.append(token.group())
        elif token.lastgroup == "symbol":
            symbol = token.group()
            if symbol == ";" and not depth and len(words) > 1 and words[0] == directive:
                return _unquoted(words[1])
            depth += {"{": 1, "}": -1}.get(symbol, 0)
            words = []
    return ""


def _server(text: str, words: list[str], start: int, end: int) -> Server:
    address = _unquoted(words[1])
    if not address.startswith("unix:") and not _PORT.search(address):
        address += ":80"
    weights = [word[len("weight=") :] for word in words[2:] if word.startswith("weight=")]
    line_end = text.find("\n", end)
    line = text[end : len(text) if line_end < 0 else line_end].rstrip("\r")
    comment = _COMMENT.fullmatch(line)
    return Server(
        name=(comment["name"] if comment else None) or address,
        address=address,
        weight=int(weights[-1]) if weights and weights[-1].isdigit() else 1,
        backup="backup" in words[2:],
        down="down" in words[2:],
        mark=(comment["mark"] or "") if comment else "",
        pending=bool(comment and comment["pending"]),
        start=start,
        end=end + len(line) if comment else end,
        text=text[start : end - 1],
        rest=comment["rest"].rstrip() if comment else "",
        obstacle=_obstacle(text[start:end], "" if comment else line.strip()),
    )


def _obstacle(statement: str, behind: str) -> str:
    """Say what the comment with a member's state would hide, or what would be lost when the statement is written anew."""
    if behind:
        return f"{behind[:80]!r} stands behind its semicolon on the same line, where its state has to stand as a comment"
    if any(token.lastgroup == "comment" for token in _TOKEN.finditer(statement)):
        return "a comment stands inside its statement of several lines"
    return ""


def _words(text: str) -> list[str]:
    return [token.group() for token in _TOKEN.finditer(text) if token.lastgroup == "word"]


def _unquoted(word: str) -> str:
    return word[1:-1] if word[:1] in ("'", '"') and word[-1:] == word[:1] and len(word) > 1 else word
