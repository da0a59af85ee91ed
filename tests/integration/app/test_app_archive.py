"""app_archive with real archives: what it keeps, what it refuses, and what a kill leaves behind."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._app.unpack import unpack
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.tests.support import archives
from ansible_collections.everup.deploy.tests.support.archives import folder, hardlink, member, symlink
from ansible_collections.everup.deploy.tests.support.modules import finish_module, run_module, start_module

MODULE = "everup.deploy.app_archive"
INFO = "everup.deploy.app_archive_info"


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "srv" / "shop"


def apply(dest, version, src=None, *, check=False, diff=False, **options):
    args = {"dest": str(dest), "version": version, **options}
    if src:
        args["src"] = str(src)
    return run_module(MODULE, args, check=check, diff=diff)


def deploy(dest, tmp_path, *versions, **options):
    for version in versions:
        result = apply(dest, version, archives.app(tmp_path / f"{version}.tar.gz", version), **options)
        assert not result["failed"], result
    return result


def tree(root):
    """Everything below root with its content, but for the lock."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.name == ".everup.lock":
            continue
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def test_a_first_release_and_the_next(dest, tmp_path):
    first = deploy(dest, tmp_path, "2.3.0")
    assert first["changed"]
    assert (first["version_before"], first["version"]) == (None, "2.3.0")
    second = apply(dest, "2.4.0", archives.app(tmp_path / "new.tar.gz", "2.4.0"), diff=True)
    assert (second["version_before"], second["version"]) == ("2.3.0", "2.4.0")
    assert second["releases"] == ["2.4.0", "2.3.0"]
    assert "current: 2.3.0" in second["diff"]["before"]
    assert "current: 2.4.0" in second["diff"]["after"]
    assert (dest / "current" / "VERSION").read_text() == "2.4.0"
    assert (dest / "previous" / "VERSION").read_text() == "2.3.0"
    info = run_module(INFO, {"dest": str(dest)})
    assert (info["version"], info["previous"], info["releases"]) == ("2.4.0", "2.3.0", ["2.4.0", "2.3.0"])
    assert not info["changed"]


def test_the_same_again_changes_nothing(dest, tmp_path):
    deploy(dest, tmp_path, "1.0")
    before = tree(dest)
    result = apply(dest, "1.0", tmp_path / "1.0.tar.gz", diff=True)
    assert not result["changed"]
    assert result["diff"]["before"] == result["diff"]["after"]
    assert tree(dest) == before
    assert not apply(dest, "1.0")["changed"]


def test_staged_leaves_current_alone(dest, tmp_path):
    deploy(dest, tmp_path, "1.0")
    result = deploy(dest, tmp_path, "1.1", state="staged")
    assert result["changed"]
    assert (result["version_before"], result["version"]) == ("1.0", "1.0")
    assert (dest / "current" / "VERSION").read_text() == "1.0"
    (tmp_path / "1.1.tar.gz").unlink()
    switched = apply(dest, "1.1")
    assert switched["changed"]
    assert not switched["staged"]
    assert (dest / "current" / "VERSION").read_text() == "1.1"


def test_check_mode_says_the_same_and_writes_nothing(dest, tmp_path):
    deploy(dest, tmp_path, "1.0", "1.1", "1.2")
    src = archives.app(tmp_path / "new.tar.gz", "1.3")
    before = tree(dest)
    wanted = apply(dest, "1.3", src, check=True, diff=True)
    assert tree(dest) == before
    assert not list((dest / "releases").glob(".*"))
    done = apply(dest, "1.3", src, diff=True)
    for key in ("changed", "version_before", "version", "releases", "removed", "staged", "diff"):
        assert wanted[key] == done[key], key
    assert done["removed"] == ["1.0"]


def test_check_mode_on_a_new_host_makes_not_even_the_folder(dest, tmp_path):
    assert apply(dest, "1.0", tmp_path / "not-copied-in-check-mode.tar.gz", check=True)["changed"]
    assert not dest.exists()


def test_the_current_release_and_the_one_before_are_never_removed(dest, tmp_path):
    deploy(dest, tmp_path, "1.0", "1.1", "1.2", keep=10)
    assert apply(dest, "1.0", keep=1)["removed"] == ["1.1"]
    info = run_module(INFO, {"dest": str(dest)})
    assert (info["version"], info["previous"]) == ("1.0", "1.2")
    assert sorted(info["releases"]) == ["1.0", "1.2"]
    assert not apply(dest, "1.0", keep=1)["changed"]


def test_folders_of_others_are_never_removed_nor_taken_over(dest, tmp_path):
    foreign = dest / "releases" / "0.9"
    foreign.mkdir(parents=True)
    (dest / "current").symlink_to(foreign)
    assert run_module(INFO, {"dest": str(dest)})["version"] == "0.9"
    result = deploy(dest, tmp_path, "1.0", "1.1", "1.2", keep=1)
    assert "0.9" not in result["releases"]
    assert foreign.is_dir()
    refused = apply(dest, "0.9", archives.app(tmp_path / "a.tar.gz", "0.9"))
    assert refused["failed"]
    assert "0.9" in refused["msg"]


def test_a_host_that_another_tool_has_deployed_can_go_back_to_what_it_had(dest, tmp_path):
    foreign = dest / "releases" / "0.9"
    foreign.mkdir(parents=True)
    (dest / "current").symlink_to("releases/0.9")
    deploy(dest, tmp_path, "1.0")
    assert apply(dest, "0.9")["version"] == "0.9"
    assert (dest / "current").resolve() == foreign


def test_another_archive_for_a_known_version_is_refused(dest, tmp_path):
    deploy(dest, tmp_path, "1.0")
    other = archives.app(tmp_path / "other.tar.gz", "1.0 rebuilt")
    before = tree(dest)
    for options in ({"src": other}, {"checksum": "0" * 64}):
        refused = apply(dest, "1.0", **options)
        assert refused["failed"]
        assert "already unpacked" in refused["msg"]
    assert tree(dest) == before


def test_a_checksum_is_checked_before_anything_is_unpacked(dest, tmp_path):
    src = archives.app(tmp_path / "a.tar.gz", "1.0")
    digest = hashlib.sha256(src.read_bytes()).hexdigest()
    refused = apply(dest, "1.0", src, checksum="0" * 64)
    assert refused["failed"]
    assert digest in refused["msg"]
    assert list((dest / "releases").iterdir()) == []
    assert "64" in apply(dest, "1.0", src, checksum="abc")["msg"]
    assert apply(dest, "1.0", src, checksum=f"sha256:{digest.upper()}")["changed"]


@pytest.mark.parametrize("version", ["", "a/b", "..", "1..2", ".hidden", "-x", "a b", "/etc", "a\n", "x" * 129, "../../etc"])
def test_a_version_that_is_no_folder_name_is_refused(dest, tmp_path, version):
    refused = apply(dest, version, archives.app(tmp_path / "a.tar.gz", "1"))
    assert refused["failed"]
    assert repr(version) in refused["msg"]
    assert not dest.exists()


def test_every_format_and_what_is_kept_of_permissions(dest, tmp_path):
    content = [
        folder("public", 0o777),
        member("public/a.txt", b"a", mode=0o666),
        member("run", b"#!", mode=0o6755),
        member("private/key", b"k", mode=0o400),
        symlink("public/link", "../run"),
        hardlink("twin", "run"),
    ]
    for version, compression in (("1", "gz"), ("2", "xz")):
        old = os.umask(0o077)
        try:
            assert apply(dest, version, archives.tar(tmp_path / version, content, compression))["changed"]
        finally:
            os.umask(old)
        mode = {
            path: stat.S_IMODE((dest / "current" / path).stat().st_mode)
            for path in ("public", "public/a.txt", "run", "private", "private/key")
        }
        assert mode == {"public": 0o755, "public/a.txt": 0o644, "run": 0o755, "private": 0o755, "private/key": 0o600}
        assert (dest / "current" / "public" / "link").resolve() == (dest / "releases" / version / "run").resolve()
        assert (dest / "current" / "twin").samefile(dest / "current" / "run")
        assert (dest / "current" / "run").stat().st_mtime == 1_700_000_000
    zipped = [("app/run", "#!", stat.S_IFREG | 0o755), ("app/plain", "p", stat.S_IFREG), ("app/link", "run", archives.LINK)]
    assert apply(dest, "3", archives.zipped(tmp_path / "a.zip", zipped))["changed"]
    assert (dest / "current" / "app" / "link").read_text() == "#!"
    assert stat.S_IMODE((dest / "current" / "app" / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((dest / "current" / "app" / "plain").stat().st_mode) == 0o644


FILLER = member("ok", b"ok")
MALICIOUS = {
    "parent": [member("../evil", b"x")],
    "parent inside": [member("a/../../evil", b"x")],
    "absolute": [member("/tmp/everup-evil", b"x")],
    "link outside": [symlink("out", "../../..")],
    "absolute link": [symlink("out", "/etc/passwd")],
    "written through a link": [symlink("out", "."), member("out/evil", b"x")],
    "link by way of links": [folder("a/b"), symlink("a/b/up", "../.."), symlink("z", "a/b/up/..")],
    "link by way of a later link": [symlink("z", "y/../.."), folder("d/e"), symlink("y", "d/e"), symlink("w", "d/../..")],
    "link in a circle": [symlink("a", "b"), symlink("b", "a")],
    "hard link outside": [hardlink("passwd", "/etc/passwd")],
    "hard link to the parent": [hardlink("passwd", "../../secret")],
    "hard link to a link": [symlink("s", "ok"), hardlink("h", "s")],
    "device": [member("null", kind=archives.DEVICE)],
    "pipe": [member("pipe", kind=archives.PIPE)],
    "twice": [member("a", b"1"), member("a", b"2")],
    "file over link": [symlink("a", "ok"), member("a", b"2")],
    "the folder itself": [symlink(".", "/etc")],
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_tar_is_refused_and_leaves_nothing(dest, tmp_path, name):
    (tmp_path / "secret").write_text("s")
    src = archives.tar(tmp_path / "evil.tar.gz", [FILLER, *MALICIOUS[name]])
    outside = tree(tmp_path)
    for check in (True, False):
        refused = apply(dest, "1.0", src, check=check)
        assert refused["failed"], name
        assert "is refused" in refused["msg"], refused
        assert "Traceback" not in json.dumps(refused)
    assert list((dest / "releases").iterdir()) == []
    shutil.rmtree(dest.parent)
    assert tree(tmp_path) == outside
    assert not Path("/tmp/everup-evil").exists()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../evil", archives.REGULAR),
        ("/tmp/everup-evil", archives.REGULAR),
        ("a\\..\\b", archives.REGULAR),
        ("out", archives.LINK),
        ("p", stat.S_IFIFO | 0o644),
    ],
)
def test_a_malicious_zip_is_refused_and_leaves_nothing(dest, tmp_path, name, mode):
    src = archives.zipped(tmp_path / "evil.zip", [("ok", "ok", archives.REGULAR), (name, "/etc/passwd", mode)])
    refused = apply(dest, "1.0", src)
    assert refused["failed"]
    assert "is refused" in refused["msg"]
    assert list((dest / "releases").iterdir()) == []
    assert not (dest / "evil").exists()


@pytest.mark.parametrize("compression", ["gz", "xz"])
@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_an_archive_cut_off_is_never_taken_for_complete(dest, tmp_path, compression, part):
    src = archives.app(tmp_path / "a", "1.0", files=20, size=5000, compression=compression)
    src.write_bytes(src.read_bytes()[: int(src.stat().st_size * part)])
    refused = apply(dest, "1.0", src)
    assert refused["failed"]
    assert "damaged" in refused["msg"]
    assert list((dest / "releases").iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all", b"\x1f\x8b garbage", b"PK\x03\x04 garbage", b"\xfd7zXZ\0 garbage"]
)
def test_what_is_no_archive_is_refused(dest, tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    refused = apply(dest, "1.0", tmp_path / "a")
    assert refused["failed"]
    assert str(tmp_path / "a") in refused["msg"]
    assert "bug" not in refused["msg"]


def test_an_empty_archive_and_a_missing_one_are_refused(dest, tmp_path):
    assert "no file" in apply(dest, "1.0", archives.tar(tmp_path / "a", [folder("only")]))["msg"]
    assert "No such file" in apply(dest, "1.0", tmp_path / "missing")["msg"]
    assert "src" in apply(dest, "1.0")["msg"]


def test_a_current_that_is_a_folder_is_left_alone(dest, tmp_path):
    (dest / "current").mkdir(parents=True)
    refused = apply(dest, "1.0", archives.app(tmp_path / "a", "1.0"))
    assert refused["failed"]
    assert "no symbolic link" in refused["msg"]


def test_killed_at_any_moment_the_next_run_converges(dest, tmp_path):
    """SIGKILL at moments spread over a whole run; current serves all the time, and nothing half is ever listed."""
    deploy(dest, tmp_path, "1.0")
    src = archives.app(tmp_path / "big.tar.gz", "2.0", files=400, size=20000)
    args = {"dest": str(dest), "version": "2.0", "src": str(src)}
    mid_unpack = 0
    for attempt in range(14):
        process = start_module(MODULE, args)
        staging = dest / "releases" / ".staging-2.0"
        deadline = time.monotonic() + 30
        while process.poll() is None and not staging.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(attempt * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        mid_unpack += staging.exists()
        info = run_module(INFO, {"dest": str(dest)})
        assert (dest / "current" / "VERSION").read_text() == info["version"]
        for version in info["releases"]:
            assert len(list((dest / "releases" / version / "lib").iterdir())) == (400 if version == "2.0" else 3)
        if info["version"] == "2.0":
            break
    assert mid_unpack >= 1
    result = run_module(MODULE, args)
    assert not result["failed"]
    assert result["version"] == "2.0"
    assert not [path for path in (dest / "releases").iterdir() if path.name.startswith(".")]
    assert len(list((dest / "current" / "lib").iterdir())) == 400
    assert not run_module(MODULE, args)["changed"]


def test_leftovers_of_every_kind_are_cleaned_and_reported(dest, tmp_path):
    deploy(dest, tmp_path, "1.0")
    (dest / "releases" / ".staging-2.0" / "lib").mkdir(parents=True)
    (dest / "releases" / ".removing-0.1").mkdir()
    (dest / ".current.new").symlink_to("nowhere")
    assert run_module(INFO, {"dest": str(dest)})["releases"] == ["1.0"]
    result = apply(dest, "1.0")
    assert result["changed"]
    assert sorted(result["cleaned"]) == [".current.new", ".removing-0.1", ".staging-2.0"]
    assert not apply(dest, "1.0")["changed"]


def test_current_is_never_missing_while_releases_switch(dest, tmp_path):
    deploy(dest, tmp_path, "1.0", "1.1")
    stop, gaps, looks = threading.Event(), [], []

    def reader():
        while not stop.is_set():
            try:
                looks.append((dest / "current" / "VERSION").read_text())
            except OSError as error:
                gaps.append(error)

    thread = threading.Thread(target=reader)
    thread.start()
    for version in ("1.0", "1.1") * 3:
        assert apply(dest, version)["changed"]
    stop.set()
    thread.join()
    assert not gaps
    assert set(looks) == {"1.0", "1.1"}


def test_two_at_once_take_turns(dest, tmp_path):
    sources = {
        version: archives.app(tmp_path / version, version, files=100, size=2000) for version in ("1.0", "1.1", "1.2", "1.3")
    }
    running = [
        start_module(MODULE, {"dest": str(dest), "version": version, "src": str(src), "keep": 9})
        for version, src in sources.items()
    ]
    results = [finish_module(process) for process in running]
    assert not [result for result in results if result["failed"]]
    befores = [result["version_before"] for result in results]
    assert len(set(befores)) == 4, "each one saw another release before it"
    assert sorted(run_module(INFO, {"dest": str(dest)})["releases"]) == sorted(sources)


def test_a_lock_that_is_not_to_be_had_is_named(dest, tmp_path):
    deploy(dest, tmp_path, "1.0")
    with (dest / ".everup.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        refused = apply(dest, "1.0", lock_timeout=1)
    assert refused["failed"]
    assert ".everup.lock" in refused["msg"]
    assert 1 <= time.monotonic() - start < 60


def test_through_ansible(dest, tmp_path):
    src = archives.app(tmp_path / "a.tar.gz", "1.0")
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-c", "local", "-m", MODULE]
    args = json.dumps({"dest": str(dest), "version": "1.0", "src": str(src)})
    done = subprocess.run(
        [*command, "-a", args, "-e", f"ansible_python_interpreter={sys.executable}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CHANGED" in done.stdout
    assert (dest / "current" / "VERSION").read_text() == "1.0"


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_tar_is_refused_where_tarfile_has_no_data_filter(tmp_path, monkeypatch, name):
    """As on targets with an early patch release of Python 3.9."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    src = archives.tar(tmp_path / "evil.tar.gz", [FILLER, *MALICIOUS[name]])
    (tmp_path / "out").mkdir()
    with src.open("rb") as source, pytest.raises(EverupError, match="is refused"):
        unpack(source, str(src), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tar.gz", "out"}
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
