"""Counting connections out of the kernel's tables, and for real on loopback."""

import socket

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb import connections
from ansible_collections.everup.deploy.plugins.module_utils._lb.connections import accepted, established

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 127.0.0.1:40000 -> 192.0.2.11:8080 twice, once of them closing; one to another port; a listener.
TCP = (
    HEAD
    + "   0: 0100007F:9C40 0B0200C0:1F90 01 00000000:00000000 00:00000000 00000000  1000 0 1 1 0\n"
    + "   1: 0100007F:9C41 0B0200C0:1F90 06 00000000:00000000 00:00000000 00000000  1000 0 1 1 0\n"
    + "   2: 0100007F:9C42 0B0200C0:1F91 01 00000000:00000000 00:00000000 00000000  1000 0 1 1 0\n"
    + "   3: 0100007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1 1 0\n"
)
# [::1]:40000 -> [2001:db8::11]:8080, and 192.0.2.11:8080 once more, as IPv6 writes it.
TCP6 = (
    HEAD
    + "   0: 00000000000000000000000001000000:9C40 B80D0120000000000000000011000000:1F90 01 0:0 0:0 0 0 0 1 1 0\n"
    + "   1: 0000000000000000FFFF00000100007F:9C43 0000000000000000FFFF00000B0200C0:1F90 01 0:0 0:0 0 0 0 1 1 0\n"
)


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The kernel's tables as files; as a little-endian machine writes them."""
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "tcp6").write_text(TCP6)
    monkeypatch.setattr(connections, "_TABLES", (str(tmp_path / "tcp"), str(tmp_path / "tcp6")))
    monkeypatch.setattr(connections.sys, "byteorder", "little")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "count"),
    [("192.0.2.11:8080", 2), ("192.0.2.11:8081", 1), ("[2001:db8::11]:8080", 1), ("192.0.2.12:8080", 0)],
)
def test_established_connections_to_a_member(tables, address, count):
    assert established(address) == count


@pytest.mark.parametrize(
    ("listen", "count"), [("127.0.0.1:40000", 1), ("40000", 2), ("*:40000", 2), ("[::1]:40000", 1), ("1", 0)]
)
def test_connections_to_what_listens_here(tables, listen, count):
    assert accepted(listen) == count


def test_a_kernel_without_ipv6(tables):
    (tables / "tcp6").unlink()
    assert established("192.0.2.11:8080") == 1


def test_a_host_without_the_tables_says_so(tables):
    (tables / "tcp").unlink()
    (tables / "tcp6").unlink()
    with pytest.raises(EverupError, match="no /proc/net/tcp"):
        established("192.0.2.11:8080")


@pytest.mark.parametrize("address", ["unix:/run/x:1", "web1", "web1:http", ":80", "web1:99999", "web1:²"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(EverupError, match="cannot be counted"):
        established(address)


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(EverupError, match=r"member's address web1\.invalid:80 cannot be resolved"):
        established("web1.invalid:80")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_that_is_really_there(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (established(f"{host}:{port}"), accepted(f"127.0.0.1:{port}")) == (0, 0)
        with socket.create_connection(("127.0.0.1", port)):
            assert (established(f"{host}:{port}"), accepted(f"127.0.0.1:{port}"), accepted(str(port))) == (1, 1, 1)
