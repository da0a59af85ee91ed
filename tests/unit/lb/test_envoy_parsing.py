# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Envoy's answers, as 1.40 gives them, and its EDS file become members, and a state is written into the file."""

from __future__ import annotations

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb import envoy, envoy_eds
from ansible_collections.everup.deploy.plugins.module_utils._lb.base import Counters

EDS = {
    "version_info": "7",
    "resources": [
        {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "shop",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {"address": {"socket_address": {"address": "192.0.2.11", "port_value": 8080}}},
                            "metadata": {"filter_metadata": {"everup.deploy": {"member": "web1"}, "envoy.lb": {"stage": "a"}}},
                        },
                        {
                            "endpoint": {
                                "address": {"socketAddress": {"address": "2001:db8::12", "portValue": 8080}},
                                "hostname": "web2",
                            },
                            "healthStatus": "DRAINING",
                        },
                    ]
                },
                {
                    "priority": 1,
                    "lbEndpoints": [
                        {"endpoint": {"address": {"pipe": {"path": "/run/web3.sock"}}}, "health_status": 2},
                        {"endpoint_name": "elsewhere"},
                    ],
                },
            ],
        }
    ],
}
TEXT = json.dumps(EDS)


def entry(text: str, number: int) -> dict:
    return json.loads(text)["resources"][0]["endpoints"][0]["lb_endpoints"][number]


@pytest.mark.parametrize("number", [1, 0])
def test_a_name_that_is_written_as_a_number_is_a_text(number):
    text = TEXT.replace('"web1"', str(number))
    assert envoy_eds.endpoints(text, "shop")[0].name == str(number)
    out = envoy_eds.with_state(text, "shop", str(number), "drain", False)
    assert envoy_eds.endpoints(out, "shop")[0].state == "drain"


def test_endpoints_have_names_addresses_and_states_in_either_spelling():
    found = envoy_eds.endpoints(TEXT, "shop")
    assert [(one.name, one.address, one.state) for one in found] == [
        ("web1", "192.0.2.11:8080", "ready"),
        ("web2", "[2001:db8::12]:8080", "drain"),
        ("unix:/run/web3.sock", "unix:/run/web3.sock", "maint"),
    ]


@pytest.mark.parametrize("text", ["resources: []", "[]", "{}", '{"resources": [{"cluster_name": "live"}]}'])
def test_a_file_without_the_service_in_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        envoy_eds.endpoints(text, "shop")


def test_drain_is_written_and_taken_back_and_nothing_else():
    drained = envoy_eds.with_state(TEXT, "shop", "web1", "drain", True)
    assert entry(drained, 0)["health_status"] == "DRAINING"
    assert json.loads(envoy_eds.with_state(drained, "shop", "web1", "ready", True)) == EDS


def test_the_other_spelling_is_replaced():
    written = entry(envoy_eds.with_state(TEXT, "shop", "web2", "maint", False), 1)
    assert "healthStatus" not in written
    assert written["health_status"] == "UNHEALTHY"


@pytest.mark.parametrize("way_back", ["drain", "ready"])
def test_maint_holds_the_check_until_it_is_left(way_back):
    out = envoy_eds.with_state(TEXT, "shop", "web1", "maint", True)
    assert entry(out, 0)["endpoint"]["health_check_config"] == {"disable_active_health_check": True}
    (member, *_others) = envoy_eds.endpoints(out, "shop")
    assert (member.checked, member.held) == (False, True)
    assert envoy_eds.with_state(out, "shop", "web1", "maint", True) == out
    back = envoy_eds.with_state(out, "shop", "web1", way_back, True)
    assert entry(back, 0)["endpoint"] == EDS["resources"][0]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert entry(back, 0)["metadata"] == EDS["resources"][0]["endpoints"][0]["lb_endpoints"][0]["metadata"]


def test_a_check_that_the_user_has_switched_off_stays_off():
    document = json.loads(TEXT)
    endpoint = document["resources"][0]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["health_check_config"] = {"disable_active_health_check": True, "port_value": 9}
    text = json.dumps(document)
    out = envoy_eds.with_state(text, "shop", "web1", "maint", True)
    assert json.loads(envoy_eds.with_state(out, "shop", "web1", "ready", True)) == document


def host(state="ready", *flags, priority=0):
    return envoy.Host(state=state, flags=flags, sessions=0, weight=1, priority=priority, counters=Counters(0, 0))


FAILED = "failed_active_health_check"


@pytest.mark.parametrize(
    ("hosts", "percent", "expected"),
    [
        ([host("drain")], 50, True),
        ([host("drain")], 0, False),
        ([host("drain"), host()], 50, False),  # a host that drains is not counted
        ([host("drain"), host("ready", FAILED)], 50, True),
        ([host("maint"), host()], 50, False),  # 50 % are not less than 50 %
        ([host("maint"), host("maint"), host()], 50, True),
        ([host("drain"), host(), host("ready", FAILED), host("ready", FAILED)], 50, True),
        ([host("drain"), host("ready", "pending_active_hc"), host()], 50, False),
        ([host("drain"), host(priority=1), host(priority=1)], 50, False),  # another priority takes all of it
        ([host("drain"), host(priority=1), host("maint", priority=1)], 50, True),
    ],
)
def test_panic(hosts, percent, expected):
    assert envoy.panics(hosts, 0, percent) is expected


DUMP = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump"},
        {
            "static_clusters": [
                {
                    "cluster": {
                        "name": "shop",
                        "type": "EDS",
                        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": "/etc/envoy/shop.json"}}},
                        "health_checks": [{}],
                    }
                },
                {"cluster": {"name": "log", "type": "STATIC"}},
                {"cluster": {"name": "far", "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}}}},
            ],
            "dynamic_active_clusters": [
                {
                    "cluster": {
                        "name": "live",
                        "type": "EDS",
                        "eds_cluster_config": {"service_name": "live-1", "eds_config": {"path": "/etc/envoy/live.json"}},
                        "common_lb_config": {"healthy_panic_threshold": {}},
                    }
                }
            ],
        },
    ]
}


def test_pools_are_the_clusters_that_come_from_a_file():
    assert envoy.pools(DUMP) == {
        "shop": envoy.Pool("shop", "shop", "/etc/envoy/shop.json", True, 50),
        "live": envoy.Pool("live", "live-1", "/etc/envoy/live.json", False, 0),
    }


COUNTED = [{"name": "rq_success", "value": "9"}, {"name": "rq_error", "value": "2"}, {"name": "rq_timeout"}]


def status(port: int, **said) -> dict:
    return {
        "address": {"socket_address": {"address": "192.0.2.11", "port_value": port}},
        "stats": [{"type": "GAUGE", "name": "rq_active", "value": "57"}, {"type": "GAUGE", "name": "cx_active"}, *COUNTED],
        "health_status": said,
        "weight": 2,
    }


def test_hosts_are_read_without_those_that_are_on_their_way_out():
    hosts = [
        status(1, eds_health_status="HEALTHY"),
        status(2, eds_health_status="DRAINING", failed_active_health_check=True, active_hc_timeout=True),
        status(3, eds_health_status="UNHEALTHY"),
        status(3, eds_health_status="HEALTHY", pending_dynamic_removal=True),
    ]
    found = envoy.clusters({"cluster_statuses": [{"name": "shop", "host_statuses": hosts}, {"name": "empty"}]})
    assert found["empty"] == {}
    assert [(address, one.state, one.flags) for address, one in found["shop"].items()] == [
        ("192.0.2.11:1", "ready", ()),
        ("192.0.2.11:2", "drain", ("failed_active_health_check", "active_hc_timeout")),
        ("192.0.2.11:3", "maint", ()),
    ]
    assert {(one.sessions, one.weight) for one in found["shop"].values()} == {(57, 2)}
    assert {one.counters for one in found["shop"].values()} == {Counters(requests=11, errors=2)}


def test_health_is_told_without_reserve():
    checked = envoy_eds.Endpoint("web1", "192.0.2.11:8080", "ready", checked=True, held=False)
    assert envoy.health(checked, host()) == ("UP", True)
    assert envoy.health(checked, host("ready", FAILED)) == ("DOWN (failed_active_health_check)", False)
    assert envoy.health(checked, host("ready", "failed_active_degraded_check"))[1] is False
    held = envoy_eds.Endpoint("web1", "192.0.2.11:8080", "maint", checked=False, held=True)
    assert envoy.health(held, host("maint")) == ("not checked", False)
    never = envoy_eds.Endpoint("web1", "192.0.2.11:8080", "ready", checked=False, held=False)
    assert envoy.health(never, host()) == ("no check", True)
