# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the page of httpd's balancer-manager.

The page and not its XML form, because only the page has the nonces, and it is given to who asks without a Referer.
Facts relied on: balancer_display_page() in modules/proxy/mod_proxy_balancer.c and proxy_wstat_tbl in proxy_util.c of httpd's
source, and the page of 2.4.71.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from .base import DRAIN, MAINT, READY

_SCHEME = "balancer://"
_TITLE = "Load Balancer Manager for "
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ajp": 8009, "fcgi": 8000, "h2": 443, "h2c": 80}
_OUT = {"Dis", "Stop", "Shut"}
_BACKUP = {"Stby", "Spar"}


@dataclass(frozen=True)
class Worker:
    """One member of a balancer.

    Attributes:
        pool: the balancer's name without ``balancer://``.
        name: its route, or its address without one.
        address: ``host:port``, or ``unix:path``.
        flags: httpd's words for its status, such as ``Init``, ``Drn`` and ``Ok``.
        busy: requests running on it.
        weight: its load factor, in whole numbers.
        checked: whether mod_proxy_hcheck checks it.
        form: what names it in a change: ``b``, ``w`` and ``nonce``.
    """

    pool: str
    name: str
    address: str
    flags: tuple
    busy: int
    weight: int
    checked: bool
    form: dict

    @property
    def backup(self) -> bool:
        """Whether it is a hot standby or a hot spare."""
        return bool(_BACKUP & set(self.flags))

    @property
    def state(self) -> str:
        """The administrative state that the flags stand for: being out wins over draining."""
        if _OUT & set(self.flags):
            return MAINT
        return DRAIN if "Drn" in self.flags else READY


@dataclass
class Manager:
    """What one page says.

    Attributes:
        server_name: what the server calls itself.
        pools: names of the balancers.
        accepts: whether the page was asked for with parameters and took them: it then has a form.
    """

    server_name: str = ""
    pools: list = field(default_factory=list)
    workers: list = field(default_factory=list)
    accepts: bool = False


def parse_manager(text: str) -> Manager:
    """Return what a page says; ValueError when it is none."""
    page = _Page()
    page.feed(text)
    page.close()
    if not page.title.startswith(_TITLE):
        raise ValueError("it has no 'Load Balancer Manager'")
    manager = Manager(server_name=page.title[len(_TITLE) :].strip(), accepts=page.form)
    pool, seen = "", set()
    for kind, found in page.found:
        if kind == "balancer":
            # A virtual host that inherits a balancer and has one of the same name shows both, and means the first by the name.
            seen.update(manager.pools)
            pool = found
            if pool not in seen:
                manager.pools.append(pool)
        elif pool and pool not in seen:
            manager.workers += _workers(pool, found)
    return manager


def _workers(pool: str, rows: list) -> list[Worker]:
    """Return the workers of one table; none when it is a table of something else."""
    names = [text for text, _link in rows[0]] if rows else []
    if not names or names[0] != "Worker URL":
        return []
    return [_worker(pool, dict(zip(names, row))) for row in rows[1:]]


def _worker(pool: str, row: dict) -> Worker:
    try:
        url, link = row["Worker URL"]
        form = dict(part.partition("=")[::2] for part in urlsplit(link).query.split("&"))
        address = _address(url)
        return Worker(
            pool=pool,
            name=row["Route"][0] or address,
            address=address,
            flags=tuple(row["Status"][0].split()),
            busy=int(row["Busy"][0]),
            weight=max(1, round(float(row["Factor"][0]))),
            checked=row.get("HC Method", ("NONE", ""))[0].upper() not in ("", "NONE"),
            form={name: unquote(form.get(name, "")) for name in ("b", "w", "nonce")},
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"a worker of balancer {pool} cannot be read, {type(error).__name__}: {error}") from None


def _address(url: str) -> str:
    """Return ``host:port`` of a worker's URL, or ``unix:path``."""
    if url.startswith("unix:"):
        return url.partition("|")[0]
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or _PORTS.get(parts.scheme, 80)}"


class _Page(HTMLParser):
    """Collects a page's title, the balancers and tables in it by their order, and whether a form is there."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.form = False
        self.found: list[tuple] = []
        self._inside = ""
        self._rows: list | None = None
        self._cell: list | None = None

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag in ("h1", "h3"):
            self._inside = tag
        elif tag == "form":
            self.form = True
        elif tag == "table":
            self._rows = []
            self.found.append(("table", self._rows))
        elif self._rows is None:
            return
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._cell = ["", ""]
            self._rows[-1].append(self._cell)
        elif tag == "a" and self._cell is not None:
            self._cell[1] = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "h3"):
            self._inside = ""
        elif tag in ("td", "th", "tr"):
            self._cell = None
        elif tag == "table":
            self._rows = self._cell = None

    def handle_data(self, data: str) -> None:
        if self._inside == "h1":
            self.title += data
        elif self._inside == "h3" and data.startswith(_SCHEME):
            self.found.append(("balancer", data[len(_SCHEME) :].strip()))
        elif self._cell is not None:
            self._cell[0] = (self._cell[0] + data).strip()
