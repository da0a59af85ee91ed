# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Web servers of the example shop on this machine: archives, homes, and the processes in them.

with ShopFarm(directory, database_url, count=4) as farm:
    farm.servers[0].url
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.ports import free_ports
from lab.process import LabError

SHOP = Path(__file__).resolve().parent.parent / "examples" / "shop"
SERVICE = SHOP / "service.py"


def build_archives(directory: Path) -> dict[str, Path]:
    """Build the release archives; returns their paths by version (1.0.0, 2.0.0, 2.0.1-broken)."""
    done = subprocess.run([sys.executable, str(SHOP / "build.py"), str(directory)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise LabError(f"the shop's archives were not built: {done.stderr}")
    paths = (Path(line) for line in done.stdout.splitlines())
    return {path.name.removeprefix("shop-").removesuffix(".tar.gz"): path for path in paths}


def install_release(home: Path, archive: Path, version: str) -> Path:
    """Unpack an archive to `releases/VERSION`, which appears at once and whole; returns that folder."""
    release = home / "releases" / version
    if not release.exists():
        unfinished = release.with_name(f".{version}.unfinished")
        with tarfile.open(archive) as packed:
            packed.extractall(unfinished, filter="data")
        unfinished.rename(release)
    return release


def activate(home: Path, version: str) -> None:
    """Let `current` point to a release, in one step: there is no moment without it."""
    link = home / ".current.new"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("releases") / version)
    link.replace(home / "current")


def stop_leftovers(directory: Path) -> None:
    """Stop the web servers that an earlier, killed run has left in the homes below a folder."""
    for settings in sorted(Path(directory).glob("*/shop.env")):
        command = [sys.executable, str(SERVICE), "stop", "--home", str(settings.parent)]
        subprocess.run(command, capture_output=True, text=True, timeout=120)


@dataclass(frozen=True)
class WebServer:
    """One home of the shop and its address."""

    name: str
    home: Path
    bind: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.bind}:{self.port}"

    def prepare(self, archive: Path, version: str, database_url: str) -> WebServer:
        """Create the home with one release in it and its settings; starts nothing."""
        self.home.mkdir(parents=True, exist_ok=True)
        install_release(self.home, archive, version)
        activate(self.home, version)
        settings = {
            "DATABASE_URL": database_url,
            "SHOP_NAME": self.name,
            "SHOP_BIND": self.bind,
            "SHOP_PORT": self.port,
        }
        file = self.home / "shop.env"
        file.touch(mode=0o600)
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        return self

    def service(self, action: str, timeout: float = 30.0) -> dict:
        """Run service.py (start, restart, stop, status); returns its report or raises LabError."""
        command = [sys.executable, str(SERVICE), action, "--home", str(self.home), "--timeout", str(timeout)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout * 4)
        if done.returncode not in (0, 3):
            raise LabError(f"service.py {action} for {self.name} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)


class ShopFarm:
    """Several web servers of the shop in front of one database.

    Parameters:
        directory: archives go to `archives/`, the homes to `web1/`, `web2/`, ...
        database_url: SQLAlchemy URL; its schema must be there already.
        count: how many servers.
        version: the release they start with.
        ports: default: free ones.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        count: int = 4,
        version: str = "1.0.0",
        ports: list[int] | None = None,
        bind: str = "127.0.0.1",
    ) -> None:
        self.directory = Path(directory)
        self.archives = build_archives(self.directory / "archives")
        self.servers = [
            WebServer(f"web{number}", self.directory / f"web{number}", bind, port).prepare(
                self.archives[version], version, database_url
            )
            for number, port in enumerate(ports or free_ports(count, bind), start=1)
        ]

    def _all(self, action: str) -> list[dict]:
        with ThreadPoolExecutor(len(self.servers)) as pool:
            return list(pool.map(lambda server: server.service(action), self.servers))

    def start(self) -> ShopFarm:
        """Start those that do not run; returns when all answer."""
        self._all("start")
        return self

    def stop(self) -> None:
        """Stop them all."""
        self._all("stop")

    def __enter__(self) -> ShopFarm:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_exception) -> None:
        self.stop()
