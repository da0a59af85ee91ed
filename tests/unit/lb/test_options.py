# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An option that makes no sense is refused by its name, with every provider, before any balancer is asked."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb.haproxy import HAProxy
from ansible_collections.everup.deploy.plugins.module_utils._lb.options import check_health_url
from ansible_collections.everup.deploy.plugins.module_utils._lb.providers import PROVIDERS
from ansible_collections.everup.deploy.plugins.modules import lb_member, lb_member_info


def refusal(module, **options) -> str:
    defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
    given = {"address": ["/nowhere/flag"], "pool": "shop", "member": "web1", "state": "drain", "listen": "127.0.0.1:1"}
    with pytest.raises(EverupError, match=r".") as error:
        module.run({**defaults, **given, **options}, True)
    return str(error.value)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize("seconds", [0, -1.0, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("module", [lb_member, lb_member_info])
def test_a_time_that_is_none_is_refused(provider, seconds, module):
    said = refusal(module, provider=provider, connect_timeout=seconds)
    assert said == f"connect_timeout must be more than 0 and at most 86400 seconds, not {seconds:g}."


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_a_notice_that_is_none_is_refused(seconds):
    said = refusal(lb_member, provider="health_flag", notice_seconds=seconds)
    assert said == f"notice_seconds must be at least 0 and at most 86400 seconds, not {seconds:g}."


URLS = {
    "{address}/health": "is not an http or https URL",
    "http://[{address}]/health": "is not an http or https URL",
    "ftp://{address}/": "is not an http or https URL",
    "http://{address}:8080/": "is not an http or https URL",
    "http:///health": "is not an http or https URL",
    "http://{address}/a b": "is not an http or https URL",
    "http://{host}/health": "holds {host}, but only {address} is put in",
    "http://{address}/{}?{ address }": "holds { address }, {}, but only {address} is put in",
}


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize("url", list(URLS))
def test_a_health_url_that_is_none_is_refused(provider, url):
    assert refusal(lb_member, provider=provider, health_url=url).startswith(f"health_url {url!r} {URLS[url]}")


def test_a_health_url_is_not_told_with_its_password():
    for url in ("ftp://u:sekret@{address}/", "http://u:sekret@{host}/", "http://u:se/sekret@{address}/"):
        assert "sekret" not in refusal(lb_member, health_url=url)


@pytest.mark.parametrize(
    "url",
    [None, "", "http://{address}/health?a=%7B1%7D", "HTTPS://u:{p}@{address}", "http://[::1]:80/", "http://[fe80::1%25eth0]/"],
)
def test_a_health_url_of_a_member_is_taken(url):
    check_health_url(url)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:²"])
def test_a_port_that_is_none_is_refused(address):
    assert "nor host:port, with a port from 1 to 65535" in refusal(lb_member, provider="haproxy", address=[address])


def test_a_host_that_can_have_no_name_cannot_be_reached():
    with pytest.raises(EverupError, match=r"^Balancer ä\.\.b:80 cannot be reached: "):
        HAProxy("ä..b:80").list_members()


def test_no_number_of_seconds_between_two_looks_is_refused(monkeypatch):
    monkeypatch.setattr(lb_member, "connect", lambda params: [])
    assert "interval must be more than 0" in refusal(lb_member, interval=float("nan"))


def test_nginx_at_a_path_that_is_too_long_is_a_sentence():
    said = refusal(lb_member, provider="nginx", address=["/" + "x" * 300], nginx_program="/bin/false")
    assert "cannot be reached: there is no such file on this host" in said
