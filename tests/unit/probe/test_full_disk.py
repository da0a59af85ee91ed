"""A journal whose disk takes a part of a write, or nothing for a while, loses no answer that it has room to keep."""

import os
from errno import ENOSPC

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._probe import journal, prober

SETTINGS = {"targets": ["http://shop/"], "writes": 0, "rate": 10, "write_rate": None}
FIRST = {"started": 1e9, "run": "r1", "timeout": 2, "status": [], "settings": SETTINGS}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A prober's journal on a disk with so many bytes left."""

    class Disk:
        left = 1_000_000

        def __init__(self):
            self.prober = prober.Prober(str(tmp_path), {"timeout": 2, "targets": [], "validate_certs": True})
            self.path = tmp_path / prober.JOURNAL
            self.prober._journal = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

        def write(self, descriptor, data):
            if not self.left:
                raise OSError(ENOSPC, "No space left on device")
            taken = data[: self.left]
            self.left -= len(taken)
            return really(descriptor, taken)

        def read(self):
            return journal.read(self.path.read_text().splitlines())

    really = os.write
    made = Disk()
    monkeypatch.setattr(prober.os, "write", made.write)
    yield made
    os.close(made.prober._journal)


def answers(number: int) -> dict:
    return {"at": float(number), "asked": [[0, float(number), 5.0]]}


@pytest.mark.parametrize("room", [0, 1, 30, 49, 50, 51, 80, 130, 131, 140, 170, 200])
def test_a_write_that_was_cut_off_is_tried_again(disk, room):
    disk.prober._write(FIRST)
    disk.left = room
    for number in range(1, 4):
        disk.prober._write(answers(number))
    disk.left = 1_000_000
    disk.prober._write(answers(4))
    disk.prober._write({"end": "stopped", "at": 5.0})
    seen = disk.read()
    assert [answer.due for answer in seen.answers] == [1.0, 2.0, 3.0, 4.0]
    assert (seen.end, seen.at) == ("stopped", 5.0)


def test_the_beginning_is_kept_however_long_the_disk_is_full(disk, monkeypatch):
    monkeypatch.setattr(prober, "_MOST_KEPT_LINES", 5)
    disk.left = 0
    disk.prober._write(FIRST)
    for number in range(1, 9):
        disk.prober._write(answers(number))
    disk.left = 1_000_000
    disk.prober._write(answers(9))
    assert [answer.due for answer in disk.read().answers] == [6.0, 7.0, 8.0, 9.0]
