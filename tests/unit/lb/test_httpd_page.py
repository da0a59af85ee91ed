# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page of httpd's balancer-manager becomes workers, and their flags become states and health."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb.httpd import health
from ansible_collections.everup.deploy.plugins.module_utils._lb.httpd_page import Worker, parse_manager

HEAD = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">
<html><head><title>Balancer Manager</title>
<style type='text/css'>
table {
 border-width: 1px;
}
</style>
</head>
<body><h1>Load Balancer Manager for lb1.example.com</h1>

<dl><dt>Server Version: Apache/2.4.71 (Debian)</dt>
<dt>Balancer changes will NOT be persisted on restart.</dt></dl>
"""
BALANCER = """<hr />
<h3>LoadBalancer Status for <a href="/balancer-manager?b={pool}&amp;nonce=n-{pool}">balancer://{pool}</a> [p1_{pool}]</h3>


<table><tr><th>MaxMembers</th><th>StickySession</th><th>DisableFailover</th><th>Timeout</th><th>Method</th></tr>
<tr><td>2 [2 Used]</td>
<td> (None) </td><td>Off</td>
<td>0</td><td>byrequests</td>
</tr>
</table>
<br />

<table><tr><th>Worker URL</th><th>Route</th><th>RouteRedir</th><th>Factor</th><th>Set</th><th>Status</th><th>Elected</th>\
<th>Busy</th><th>Load</th><th>To</th><th>From</th><th>HC Method</th><th>HC Interval</th><th>Passes</th></tr>
{rows}</table>
"""
ROW = """<tr>
<td><a href="/balancer-manager?b={pool}&amp;w={url}&amp;nonce=n-{pool}">{shown}</a></td><td>{route}</td><td></td><td>{factor}\
</td><td>0</td><td>{status} </td><td>7</td><td>{busy}</td><td>0</td><td>1.0K</td><td>2.5M</td><td>{method}</td><td>1000ms</td>\
<td>1 (0)</td></tr>
"""


def row(**said) -> str:
    usual = {"pool": "shop", "url": "http://192.0.2.11:8080", "route": "web1", "factor": "1.00", "status": "Init Ok", "busy": "0"}
    filled = {**usual, "method": "NONE", **said}
    return ROW.format(**{"shown": filled["url"], **filled})


def page(*balancers: tuple, tail: str = "<hr />\n</body></html>\n") -> str:
    return HEAD + "".join(BALANCER.format(pool=pool, rows=rows) for pool, rows in balancers) + tail


def workers(*rows: str) -> list[Worker]:
    return parse_manager(page(("shop", "".join(rows)))).workers


def test_a_page_says_its_name_its_balancers_and_their_members():
    solo = row(pool="solo", route="", status="Init Dis", factor="2.50", busy="57")
    found = parse_manager(
        page(("shop", row() + row(url="http://192.0.2.12", route="web2", status="Init Drn Ok")), ("solo", solo))
    )
    assert found.server_name == "lb1.example.com"
    assert found.pools == ["shop", "solo"]
    assert [(one.pool, one.name, one.address, one.state, one.weight, one.busy) for one in found.workers] == [
        ("shop", "web1", "192.0.2.11:8080", "ready", 1, 0),
        ("shop", "web2", "192.0.2.12:80", "drain", 1, 0),
        ("solo", "192.0.2.11:8080", "192.0.2.11:8080", "maint", 2, 57),
    ]
    assert found.workers[0].form == {"b": "shop", "w": "http://192.0.2.11:8080", "nonce": "n-shop"}
    assert found.accepts is False


def test_a_page_with_a_form_took_its_parameters():
    form = "<form method='POST' action=\"/balancer-manager\">\n<table><tr><td>Load factor:</td></tr></table>\n</form>"
    assert parse_manager(page(("shop", row()), tail=form)).accepts is True


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://192.0.2.11", "192.0.2.11:443"),
        ("ajp://app1", "app1:8009"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ("unix:/run/app.sock|http://localhost", "unix:/run/app.sock"),
    ],
)
def test_addresses_have_ports(url, address):
    assert workers(row(url=url))[0].address == address


def test_a_balancer_of_the_main_server_that_the_virtual_host_has_as_well_counts_once():
    found = parse_manager(page(("shop", row()), ("shop", row(route="other"))))
    assert (found.pools, [one.name for one in found.workers]) == (["shop"], ["web1"])


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Init Ok", "ready"),
        ("Init Ign Drn Ok", "drain"),
        ("Init Drn Dis", "maint"),
        ("Init Stop", "maint"),
        ("Init Err", "ready"),
        ("Init Stby Ok", "ready"),
    ],
)
def test_flags_are_states(status, state):
    assert workers(row(status=status))[0].state == state


@pytest.mark.parametrize(("status", "backup"), [("Init Ok", False), ("Init Stby Ok", True), ("Init Spar Ok", True)])
def test_a_standby_or_a_spare_is_a_backup(status, backup):
    assert workers(row(status=status))[0].backup is backup


@pytest.mark.parametrize(
    ("status", "method", "check", "said"),
    [
        ("Init Ok", "NONE", None, ("no check", True)),
        ("Init Ok", "GET", None, ("UP", True)),
        ("Init Ok", "GET", ("DOWN (status 503)", False), ("DOWN (status 503)", False)),
        ("Init HcFl", "GET", ("UP", True), ("DOWN (HcFl)", False)),
        ("Init Err", "NONE", ("UP", True), ("DOWN (Err)", False)),
        ("Init Drn Err", "NONE", ("UP", True), ("UP", True)),
        ("Init Drn Err", "GET", ("UP", True), ("DOWN (Err)", False)),
    ],
)
def test_flags_and_a_check_are_health(status, method, check, said):
    assert health(workers(row(status=status, method=method))[0], check) == said


@pytest.mark.parametrize("text", ["", "<h1>It works!</h1>", '{"a": 1}'])
def test_another_page_is_none(text):
    with pytest.raises(ValueError, match="no 'Load Balancer Manager'"):
        parse_manager(text)


def test_a_worker_without_a_count_is_no_worker():
    with pytest.raises(ValueError, match="a worker of balancer shop cannot be read"):
        workers(row(busy="many"))
