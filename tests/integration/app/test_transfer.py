# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""app_archive as Ansible runs it: the archive comes from the control node, and no copy of it stays on the host."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.everup.deploy.tests.support import archives
from ansible_collections.everup.deploy.tests.support.adhoc import run_task


@pytest.fixture
def unpack(tmp_path):
    def run(src, *flags, **options):
        given = {"dest": str(tmp_path / "srv"), "version": "1.0", "src": str(src), **options}
        # What is left behind stands out: nothing else has this folder for its temporary files.
        return run_task(tmp_path, "app_archive", given, *flags, env={"ANSIBLE_REMOTE_TMP": str(tmp_path / "remote")})

    return run


def left_behind(tmp_path):
    return [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]


def test_an_archive_of_the_control_node_is_unpacked_and_no_copy_of_it_stays(unpack, tmp_path):
    done = unpack(archives.app(tmp_path / "shop-1.0.tar.gz", "1.0"))
    assert (done.code, done.result["changed"], done.result["version"]) == (0, True, "1.0")
    assert (tmp_path / "srv" / "current" / "VERSION").read_text() == "1.0"
    assert left_behind(tmp_path) == []
    assert (tmp_path / "shop-1.0.tar.gz").exists()


def test_a_refused_archive_is_named_and_no_copy_of_it_stays(unpack, tmp_path):
    (tmp_path / "shop-1.0.tar.gz").write_bytes(b"no archive at all")
    done = unpack(tmp_path / "shop-1.0.tar.gz")
    assert done.code == 2
    assert "shop-1.0.tar.gz is no tar.gz, tar.xz or zip" in done.result["msg"]
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "srv" / "releases" / "1.0").exists()


def test_a_missing_archive_is_named_before_the_host_is_touched(unpack, tmp_path):
    done = unpack(tmp_path / "shop-1.0.tar.gz")
    assert done.code == 2
    assert f"Could not find or access '{tmp_path}/shop-1.0.tar.gz'" in done.result["msg"]
    assert not (tmp_path / "srv").exists()


@pytest.mark.parametrize("src", ["here.tar.gz", "missing.tar.gz"])
def test_an_archive_of_the_host_is_taken_from_there(unpack, tmp_path, src):
    archive = archives.app(tmp_path / "here.tar.gz", "1.0")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    done = unpack(tmp_path / src, remote_src=True, checksum=checksum)
    assert done.code == (0 if src == "here.tar.gz" else 2)
    assert src == "here.tar.gz" or "No such file" in done.result["msg"]


def test_a_host_that_cannot_be_reached_is_unreachable_and_has_not_failed(unpack, tmp_path):
    ssh = ("-c", "ssh", "-e", "ansible_host=127.0.0.1 ansible_port=1")
    done = unpack(archives.app(tmp_path / "shop-1.0.tar.gz", "1.0"), *ssh)
    assert (done.code, done.result["unreachable"]) == (4, True)


def test_check_mode_copies_nothing_and_foresees_the_change(unpack, tmp_path):
    done = unpack(archives.app(tmp_path / "shop-1.0.tar.gz", "1.0"), "--check")
    assert (done.code, done.result["changed"], done.result["staged"]) == (0, True, True)
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "srv").exists()
