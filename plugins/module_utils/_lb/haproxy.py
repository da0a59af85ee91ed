# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Talks to HAProxy through its runtime API, over a Unix socket or TCP.

Facts are from HAProxy's management guide ("Unix Socket commands") and from ``include/haproxy/server-t.h`` and
``src/stats.c`` of its source, each seen on 2.6. What it counts of a server: a status that the server gave in ``hrsp_*``, an
answer that did not come or was cut in ``eresp``, a connection that was refused to the last retry in ``econ``.
"""

from __future__ import annotations

import csv
import re
import socket
import time

from .._errors import EverupError
from .addresses import is_port, told
from .base import DRAIN, MAINT, READY, Balancer, Counters, Member

# srv_admin_state is a bit field (enum srv_admin in server-t.h). Maintenance is forced (0x01), inherited from a tracked
# server (0x02) or for want of name resolution (0x20). 0x04 only remembers that the configuration file said `disabled`:
# it stays set after `state ready`, when the member takes traffic again.
_MAINT_BITS = 0x01 | 0x02 | 0x20
# Drain is forced (0x08) or inherited (0x10). Maintenance wins over drain.
_DRAIN_BITS = 0x08 | 0x10
# Everything else `status` may say means down, or up with reserve (srv_hlt_st in stats.c): "UP 1/3" has failed a check
# or was never checked since it left maintenance, "DRAIN 1/3" is that in drain, "NOLB" answered its check with 404.
_HEALTHY = {"UP", "DRAIN", "DRAIN (agent)", "no check"}
# Names HAProxy accepts in its configuration (invalid_char() in tools.c): anything else could smuggle in a command.
_NAME = re.compile(r"[A-Za-z0-9_:.-]+\Z")
_STATUSES = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
# Each answer moves the average of a server that has answered more than that by this part of it (TIME_STATS_SAMPLES in
# include/haproxy/freq_ctr.h and swrate_add_dynamic()); before, it is the average of all.
_TIME_STATS_SAMPLES = 512


class HAProxy(Balancer):
    """One HAProxy process.

    Parameters:
        address: path of its ``stats socket``, or ``host:port`` (IPv6: ``[host]:port``) of a TCP one.
        timeout: seconds for one command, from connecting to the last byte of the answer.
    """

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        self.address = address
        self.timeout = timeout
        self._target = _target(address)
        self._codes: dict[tuple, str] = {}  # of the last checks; everything else is asked for anew

    def list_members(self, pool: str | None = None) -> list[Member]:
        return self._read(pool, self._members)

    def list_counters(self, pool: str) -> dict[str, Counters]:
        return self._read(pool, lambda servers, stats: {row["svname"]: counters(row) for row in stats})

    def _members(self, servers: list[dict], stats: list[dict]) -> list[Member]:
        for row in stats:
            self._recall_code(row)
        return members(servers, stats)

    def _read(self, pool: str | None, understand):
        """Return what understand() makes of the states and statistics of the servers of one pool or of all."""
        if pool is not None:
            _check_name("pool", pool)
        states = self._ask(f"show servers state {pool}" if pool else "show servers state")
        if pool and not states.startswith("1\n"):
            raise EverupError(f"Balancer {self.address} has no pool {pool}: HAProxy says {states.strip()!r}.")
        try:
            servers = parse_servers_state(states)
            # Type 4 is servers; the pool is asked for by number because older versions know no other way.
            backend = servers[0]["be_id"] if pool and servers else -1
            return understand(servers, parse_stat(self._ask(f"show stat {backend} 4 -1")))
        except (KeyError, ValueError) as error:
            raise EverupError(
                f"Balancer {self.address} gave an answer that is not HAProxy's ({type(error).__name__}: {error}). "
                f"Is this address a stats socket? It began with: {states[:200]!r}"
            ) from error

    def check_writable(self, pool: str) -> None:
        level = self._ask("show cli level").strip()
        if level in ("operator", "user"):
            raise EverupError(
                f"Balancer {self.address} would answer 'Permission denied': this socket has level {level}. "
                "Give its `stats socket` line `level admin`."
            )

    def set_state(self, pool: str, name: str, state: str) -> None:
        _check_name("pool", pool)
        _check_name("member", name)
        answer = self._ask(f"set server {pool}/{name} state {state}").strip()
        if answer:
            raise EverupError(f"Balancer {self.address} did not set {pool}/{name} to {state}: {answer}")
        seen = self.get_member(pool, name)
        if seen.state != state:
            raise EverupError(
                f"Balancer {self.address} accepted {state} for {pool}/{name} but still reports {seen.state} "
                f"({seen.health}). The state is inherited from a server it tracks, or comes from failed name "
                "resolution: change it there."
            )

    def _recall_code(self, row: dict) -> None:
        """Give a row the code of its last check again, as far as it has been seen.

        HAProxy goes on showing that check's status while the next is on its way, but with the code 0.
        """
        last = (row["iid"], row["sid"], row["check_status"].replace("* ", ""))
        if row["check_code"] not in ("", "0"):
            self._codes[last] = row["check_code"]
        elif last in self._codes:
            row["check_code"] = self._codes[last]

    def _ask(self, command: str) -> str:
        """Send one command and return the whole answer. HAProxy closes the connection after it."""
        deadline = time.monotonic() + self.timeout
        family, target = self._target
        answer = bytearray()
        try:
            with socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(target)
                connection.sendall(command.encode("ascii") + b"\n")
                while True:
                    connection.settimeout(max(deadline - time.monotonic(), 0.001))
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    answer += chunk
        except socket.timeout as error:
            raise EverupError(f"Balancer {self.address} did not answer '{command}' within {self.timeout:g} s.") from error
        except OSError as error:
            raise EverupError(f"Balancer {self.address} cannot be reached: {error.strerror or error}.") from error
        except (TypeError, UnicodeError) as error:  # of a name that IDNA does not allow
            raise EverupError(f"Balancer {self.address} cannot be reached: no host has such a name.") from error
        if not answer:
            raise EverupError(f"Balancer {self.address} closed the connection without answering '{command}'.")
        return answer.decode("utf-8", "replace")


def connect(params: dict) -> list[Balancer]:
    """Return one balancer an address of the module's parameters; nothing is sent yet."""
    return [HAProxy(address, params["connect_timeout"]) for address in params["address"]]


def parse_servers_state(text: str) -> list[dict]:
    """Return one dict a server from ``show servers state``, keyed by the header's names; ValueError on other text."""
    lines = [line for line in text.splitlines() if line.strip()]
    header = next((line for line in lines if line.startswith("# ")), None)
    if header is None:
        raise ValueError("no header line")
    names = header[2:].split()
    rows = [line.split() for line in lines[lines.index(header) + 1 :]]
    return [dict(zip(names, row)) for row in rows]


def parse_stat(text: str) -> list[dict]:
    """Return one dict a row from the CSV of ``show stat``, keyed by the header's names; ValueError on other text."""
    if not text.startswith("# "):
        raise ValueError("no header line")
    return list(csv.DictReader(text[2:].splitlines()))


def members(servers: list[dict], stats: list[dict]) -> list[Member]:
    """Join the two answers by HAProxy's own numbers of backend and server."""
    by_id = {(row["iid"], row["sid"]): row for row in stats}
    return [_member(server, by_id[server["be_id"], server["srv_id"]]) for server in servers]


def counters(row: dict) -> Counters:
    """Return what a row of ``show stat`` has counted."""
    unanswered = int(row["eresp"] or 0) + int(row["econ"] or 0)
    return Counters(
        requests=sum(int(row[status] or 0) for status in _STATUSES) + unanswered,
        errors=int(row["hrsp_5xx"] or 0) + unanswered,
        response_ms=int(row["rtime"]) if row["rtime"] else None,
        response_over=_TIME_STATS_SAMPLES,
    )


def admin_state(bits: int) -> str:
    """Return the administrative state that ``srv_admin_state`` stands for."""
    if bits & _MAINT_BITS:
        return MAINT
    return DRAIN if bits & _DRAIN_BITS else READY


def health(row: dict) -> tuple[str, bool]:
    """Return what the health check says of a row of ``show stat``, and whether it passes without reserve.

    ``INI`` as the last check means that none has run yet, whatever the status says.
    """
    status = row["status"]
    check = row.get("check_status", "").replace("* ", "")  # "* " marks a check on its way
    if status in _HEALTHY and check != "INI":
        return status, True
    if status.startswith("MAINT") or status == "no check":
        return status, False
    reason = " ".join(part for part in (check, row.get("check_code", "")) if part not in ("", "0"))
    return (f"{status} ({reason})" if reason else status), False


def _member(server: dict, row: dict) -> Member:
    text, healthy = health(row)
    return Member(
        pool=server["be_name"],
        name=server["srv_name"],
        address=f"{server['srv_addr']}:{server['srv_port']}",
        state=admin_state(int(server["srv_admin_state"])),
        health=text,
        healthy=healthy,
        sessions=int(row["scur"] or 0) + int(row["qcur"] or 0),
        weight=int(row["weight"] or 0),
        backup=row["bck"] == "1",
    )


def _target(address: str):
    """Return socket family and connect() argument of an address; EverupError when it is neither form."""
    if address.startswith("/"):
        return socket.AF_UNIX, address
    host, separator, port = address.rpartition(":")
    if not separator or not host or not is_port(port):
        raise EverupError(
            f"Balancer address {told(address)!r} is neither the path of a Unix socket nor host:port, with a port from 1 to 65535."
        )
    if host.startswith("["):
        return socket.AF_INET6, (host.strip("[]"), int(port))
    return socket.AF_INET, (host, int(port))


def _check_name(what: str, name: str) -> None:
    if not _NAME.match(name):
        raise EverupError(f"{name!r} is not the name of a {what}: HAProxy allows letters, digits and '_:.-'.")
