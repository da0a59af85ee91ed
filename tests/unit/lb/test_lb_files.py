# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A balancer's configuration file is replaced whole, and stays as protected as it was."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb import files


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_replaced_file_keeps_its_mode_and_nobody_reads_it_before(tmp_path, monkeypatch, mode):
    path = tmp_path / "balancer.conf"
    path.write_text("old")
    path.chmod(mode)
    seen = []
    copystat = shutil.copystat

    def noting(source, target):
        seen.append(target.stat().st_mode & 0o777)
        copystat(source, target)

    monkeypatch.setattr(files.shutil, "copystat", noting)

    files.replace_text(path, "new\r\n")

    assert seen == [0o600]
    assert path.read_bytes() == b"new\r\n"
    assert path.stat().st_mode & 0o777 == mode
    assert [entry.name for entry in tmp_path.iterdir()] == ["balancer.conf"]


def test_what_a_killed_run_left_is_not_written_into(tmp_path):
    path = tmp_path / "balancer.conf"
    path.write_text("old")
    left = tmp_path / ".balancer.conf.everup"
    left.write_text("half of a very long text")
    left.chmod(0o644)

    files.replace_text(path, "new")

    assert path.read_text() == "new"
    assert not left.exists()
