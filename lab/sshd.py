# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an SSH server of the lab is set up: one key pair for the host, one for whoever logs in, and no other way in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.process import LabError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEYS = ("host_key", "client_key")

_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/client_key.pub"
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 200
SetEnv {environment}
Subsystem sftp internal-sftp
"""


def write_keys(folder: Path, owner: str) -> str:
    """Write both key pairs into a folder; returns the host's public key, as known_hosts wants it behind the name.

    Parameters:
        owner: whose they are, for the keys' comments.

    Raises:
        LabError: ssh-keygen failed.
    """
    for key in KEYS:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{key} of {owner}", "-f", str(folder / key)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise LabError(f"the {key} of {owner} was not made: {done.stderr.strip() or done.stdout.strip()}")
    kind, public = (folder / "host_key.pub").read_text(encoding="ascii").split()[:2]
    return f"{kind} {public}"


def sshd_config(folder: Path, address: str, port: int = 22, **environment: object) -> str:
    """Return the configuration of a server that uses the keys in a folder.

    Parameters:
        environment: what every command has beside its PATH.
    """
    settings = " ".join(f"{name}={value}" for name, value in {"PATH": SYSTEM_PATH, **environment}.items())
    return _CONFIG.format(folder=folder, address=address, port=port, environment=settings)
