# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ansible.cfg of the example and that of the README set what they say they set."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def example() -> str:
    return (ROOT / "examples" / "shop" / "ansible.cfg").read_text()


def readme() -> str:
    return re.search(r"```ini\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S).group(1)


@pytest.mark.parametrize("text", [example, readme])
def test_a_cut_link_ends_the_wait_and_modules_are_pipelined(text):
    """Ansible passes over a key that stands in a section of others without a word."""
    settings = ConfigParser()
    settings.read_string(text())
    assert settings["connection"]["pipelining"] == "true"
    assert "-o ServerAliveInterval=5 -o ServerAliveCountMax=3" in settings["ssh_connection"]["ssh_args"]
