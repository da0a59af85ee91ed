# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of its own for the real podman, below a folder, and a registry that it pulls from."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BUSYBOX = "/bin/busybox"
# No network of their own, no systemd and no overlay: what works in any sandbox that has a root user. crun refuses hybrid cgroups.
_CONTAINERS = """\
[containers]
netns = "host"
ipcns = "host"
utsns = "host"
log_driver = "k8s-file"
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{root}/tmp"
"""


class PodmanHost:
    """A store of its own for podman; ``python`` is an interpreter whose modules see nothing but it."""

    def __init__(self, root: Path, registry: Registry | None = None) -> None:
        self.root = root
        root.mkdir(parents=True)
        storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{root}/storage"\nrunroot = "{root}/run"\n'
        insecure = f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n' if registry else ""
        texts = {"CONTAINERS_CONF": _CONTAINERS.format(root=root), "CONTAINERS_STORAGE_CONF": storage}
        texts["CONTAINERS_REGISTRIES_CONF"] = insecure
        self.settings = {}
        for name, text in texts.items():
            file = root / f"{name.lower()}.conf"
            file.write_text(text)
            self.settings[name] = str(file)
        exports = "".join(f"export {name}='{value}'\n" for name, value in self.settings.items())
        self.python = root / "python"
        self.python.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} "$@"\n')
        self.python.chmod(0o755)

    def podman(self, *words: str, check: bool = True) -> str:
        """Run podman with this store, and return what it prints."""
        environment = {**os.environ, **self.settings}
        done = subprocess.run(["podman", *words], capture_output=True, text=True, env=environment, timeout=60)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def images(self) -> list[str]:
        """Return the tags of the images that the host has, sorted."""
        lines = self.podman("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        return sorted(line.rpartition(":")[2] for line in lines)

    def close(self) -> None:
        """Remove every container and image."""
        self.podman("rm", "--all", "--force", "--time", "0", check=False)
        self.podman("rmi", "--all", "--force", check=False)


class Registry:
    """A read-only registry on a port of this machine."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(registry.find(self.path))

            do_HEAD = do_GET  # noqa: N815

            def _answer(self, found: tuple[str, str, bytes] | None) -> None:
                kind, digest, body = found or ("application/json", "", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                if digest:
                    self.send_header("Docker-Content-Digest", digest)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_arguments) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def find(self, path: str) -> tuple[str, str, bytes] | None:
        """Return content type, digest and body of what a path names."""
        if path == "/v2/":
            return "application/json", "", b"{}"
        what, _slash, name = path.removeprefix("/v2/shop/").partition("/")
        digest = self.tags.get(name, name)
        if digest not in self.blobs:
            return None
        kind = "application/vnd.oci.image.manifest.v1+json" if what == "manifests" else "application/octet-stream"
        return kind, digest, self.blobs[digest]

    def add(self, tag: str, folder: Path) -> None:
        """Offer an image of busybox and one file, /www/health, that says the tag's version."""
        folder.mkdir()
        store = PodmanHost(folder / "store")
        rootfs = folder / "rootfs.tar"
        with tarfile.open(rootfs, "w") as tar:
            tar.add(BUSYBOX, "bin/busybox")
            body = json.dumps({"status": "ok", "version": tag}).encode()
            entry = tarfile.TarInfo("www/health")
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
        store.podman("import", "--change", "STOPSIGNAL SIGKILL", str(rootfs), f"{self.address}/shop:{tag}")
        store.podman("save", "--format", "oci-dir", "-o", str(folder / "oci"), f"{self.address}/shop:{tag}")
        store.close()
        for blob in (folder / "oci" / "blobs" / "sha256").iterdir():
            self.blobs[f"sha256:{blob.name}"] = blob.read_bytes()
        index = json.loads((folder / "oci" / "index.json").read_text())
        self.tags[tag] = index["manifests"][0]["digest"]
