# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What service.py and build.py decide, without a server."""

import tarfile
from pathlib import Path

import pytest

from examples.shop import build, service


@pytest.mark.parametrize(
    ("cmdline", "ours"),
    [
        (b"python\0-m\0gunicorn\0--name\0shop:/srv/web1\0--bind\0x\0", True),
        (b"gunicorn: master [shop:/srv/web1]", True),
        (b"python\0-m\0gunicorn\0--name\0shop:/srv/web10\0", False),
        (b"gunicorn: master [shop:/srv/web10]", False),
        (b"vi\0shop:/srv/web1\0", False),
        (b"", False),
    ],
)
def test_a_process_is_ours_only_with_the_exact_home(cmdline, ours):
    assert service.is_ours(cmdline, "shop:/srv/web1") is ours


def test_masters_are_nobodys_workers():
    assert service.masters({10: 1, 11: 10, 12: 10, 20: 1}) == [10, 20]


def test_settings_come_from_the_home_and_options_win(tmp_path):
    (tmp_path / "shop.env").write_text("# comment\nSHOP_PORT=8001\nDATABASE_URL=x://a:b=c@d\n\n")
    assert service.read_settings(tmp_path) == {"SHOP_PORT": "8001", "DATABASE_URL": "x://a:b=c@d"}
    action, found = service.parse(["restart", "--home", str(tmp_path)])
    assert (action, found.port, found.bind) == ("restart", 8001, "127.0.0.1")
    _, found = service.parse(["restart", "--home", str(tmp_path), "--port", "9", "--bind", "::1"])
    assert (found.port, found.bind) == (9, "::1")


def test_a_restart_without_a_port_is_refused(tmp_path):
    with pytest.raises(SystemExit):
        service.parse(["restart", "--home", str(tmp_path)])


def test_archives_are_reproducible_and_complete(tmp_path):
    first, second = build.build(tmp_path / "a"), build.build(tmp_path / "b")
    assert list(first) == ["1.0.0", "2.0.0", "2.0.1-broken"]
    for version, path in first.items():
        assert path.read_bytes() == second[version].read_bytes()
        with tarfile.open(path) as archive:
            names = set(archive.getnames())
        assert {"VERSION", "gunicorn.conf.py", "shop/web.py", "shop/schema.py"} <= names
        assert ("BROKEN" in names) is (version == "2.0.1-broken")
        assert not any("__pycache__" in Path(name).parts for name in names)
