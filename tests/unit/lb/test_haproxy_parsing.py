# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's answers, as 2.6 gives them, become members."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb import haproxy

STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_fqdn srv_port
3 shop 1 web1 192.0.2.11 2 0 10 10 - 8080
3 shop 2 web2 192.0.2.12 0 12 1 1 - 8080
4 live 1 web1 192.0.2.11 2 1 1 1 - 9090

"""
STAT = """# pxname,svname,qcur,scur,status,weight,bck,iid,sid,check_status,check_code,last_chk,
live,web1,0,0,MAINT,1,0,4,1,,,,
shop,web1,2,57,UP,10,0,3,1,* L7OK,200,"OK, really",
shop,web2,0,0,DOWN 1/2,1,1,3,2,* L7STS,503,,

"""


def test_the_two_answers_are_joined_by_number_and_not_by_order():
    found = haproxy.members(haproxy.parse_servers_state(STATES), haproxy.parse_stat(STAT))
    assert [(member.pool, member.name, member.address) for member in found] == [
        ("shop", "web1", "192.0.2.11:8080"),
        ("shop", "web2", "192.0.2.12:8080"),
        ("live", "web1", "192.0.2.11:9090"),
    ]
    assert [member.state for member in found] == ["ready", "drain", "maint"]
    assert [member.sessions for member in found] == [59, 0, 0]
    assert [member.weight for member in found] == [10, 1, 1]
    assert [member.health for member in found] == ["UP", "DOWN 1/2 (L7STS 503)", "MAINT"]
    assert [member.serving for member in found] == [True, False, False]
    assert [member.backup for member in found] == [False, True, False]


def test_columns_are_found_by_name_in_any_order():
    moved = "# sid,bck,iid,weight,status,scur,qcur,pxname,svname\n1,0,3,5,no check,4,1,shop,web1\n"
    one = haproxy.parse_servers_state(STATES)[:1]
    (member,) = haproxy.members(one, haproxy.parse_stat(moved))
    assert (member.sessions, member.weight, member.health, member.healthy) == (5, 5, "no check", True)


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (0, "ready"),
        (0x01, "maint"),  # forced
        (0x02, "maint"),  # inherited
        (0x04, "ready"),  # was `disabled` in the configuration, and has been put back since
        (0x05, "maint"),  # is `disabled` in the configuration
        (0x08, "drain"),  # forced
        (0x0C, "drain"),
        (0x10, "drain"),  # inherited
        (0x20, "maint"),  # name resolution failed
        (0x40, "ready"),  # name was set through the socket
        (0x09, "maint"),  # maintenance wins
        (0x12, "maint"),
    ],
)
def test_admin_state_is_a_bit_field(bits, state):
    assert haproxy.admin_state(bits) == state


@pytest.mark.parametrize(
    ("status", "check", "healthy"),
    [
        ("UP", "L7OK", True),
        ("UP", "* L7OK", True),
        ("UP", "", True),  # tracks another server
        ("UP", "INI", False),  # never checked
        ("UP", "* INI", False),
        ("UP 1/3", "L7OK", False),
        ("UP 2/3", "L4TOUT", False),
        ("DRAIN", "L7OK", True),
        ("DRAIN (agent)", "L7OK", True),
        ("DRAIN 1/3", "L7OK", False),
        ("no check", "", True),
        ("DOWN", "L4CON", False),
        ("DOWN (agent)", "L7OK", False),
        ("DOWN 1/2", "L7OK", False),
        ("NOLB", "L7OKC", False),
        ("NOLB 1/2", "L7OKC", False),
        ("MAINT", "", False),
        ("MAINT (via shop/web1)", "", False),
        ("MAINT (resolution)", "", False),
        ("UPSIDE", "", False),
    ],
)
def test_healthy_means_without_reserve(status, check, healthy):
    assert haproxy.health({"status": status, "check_status": check})[1] is healthy


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"status": "DOWN", "check_status": "L4CON", "check_code": ""}, "DOWN (L4CON)"),
        ({"status": "DOWN", "check_status": "* L7STS", "check_code": "503"}, "DOWN (L7STS 503)"),
        ({"status": "DOWN", "check_status": "* L7STS", "check_code": "0"}, "DOWN (L7STS)"),
        ({"status": "UP 1/3", "check_status": "INI"}, "UP 1/3 (INI)"),
        ({"status": "UP", "check_status": "L7OK", "check_code": "200"}, "UP"),
        ({"status": "DOWN"}, "DOWN"),
    ],
)
def test_health_says_why(row, text):
    assert haproxy.health(row)[0] == text


@pytest.mark.parametrize("text", ["", "\n", "Unknown command: show\n", "1\nweb1 up\n"])
def test_other_text_is_no_answer(text):
    with pytest.raises(ValueError, match="no header"):
        haproxy.parse_servers_state(text)
    with pytest.raises(ValueError, match="no header"):
        haproxy.parse_stat(text)


def test_addresses():
    assert haproxy._target("/run/haproxy/admin.sock") == (socket.AF_UNIX, "/run/haproxy/admin.sock")
    assert haproxy._target("lb1:9999") == (socket.AF_INET, ("lb1", 9999))
    assert haproxy._target("[2001:db8::1]:9999") == (socket.AF_INET6, ("2001:db8::1", 9999))
    with pytest.raises(EverupError, match="neither"):
        haproxy._target("lb1")
