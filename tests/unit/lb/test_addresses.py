# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No address is told with a password, whichever provider it was meant for."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb.addresses import check_address, told
from ansible_collections.everup.deploy.plugins.module_utils._lb.providers import PROVIDERS
from ansible_collections.everup.deploy.plugins.modules import lb_member, lb_member_info

SECRET = "sekret"


def params(module, provider: str, **options) -> dict:
    defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
    given = {"provider": provider, "pool": "shop", "member": "web1", "state": "drain", "listen": "127.0.0.1:1"}
    return {**defaults, **given, "connect_timeout": 1.0, **options}


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize(
    "address",
    [
        "/nope@http://u:sekret@127.0.0.1:1",
        "/nope@u:sekret@127.0.0.1:1",
        "file@ftp://u:sekret@127.0.0.1",
        "file@http://u:sekret@127.0.0.1:1",
        "ftp://u:sekret@127.0.0.1:1",
        "http://u:sekret@127.0.0.1:x",
        "http://u:sekret@127.0.0.1:1/manager",
        "HTTPS://sekret@127.0.0.1:1",
        "http://u:a/sekret@127.0.0.1:1",
        "http://u:a@sekret@127.0.0.1:1",
        "http://u:a#sekret@[::1",
        "u:sekret@127.0.0.1:1",
        "u:sekret@127.0.0.1:99999",
    ],
)
@pytest.mark.parametrize("module", [lb_member, lb_member_info])
def test_no_refusal_tells_a_password(provider, address, module):
    for addresses in ([address], ["/x", address]):
        with pytest.raises(EverupError, match=r".") as error:
            module.run(params(module, provider, address=addresses), True)
        assert SECRET not in f"{error.value} {error.value.details} {error.value.__cause__}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://u:sekret@lb1:1/x", "http://********@lb1:1/x"),
        ("/etc/shop.yml@http://u:sekret@lb1:1", "/etc/shop.yml@http://********@lb1:1"),
        ("u:sekret@lb1:1", "********@lb1:1"),
    ],
)
def test_what_is_told_of_an_address_with_a_user(address, shown):
    assert told(address) == shown
    with pytest.raises(EverupError, match=r"on lb1:1.* holds a user or a password: give them as url_username"):
        check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "/run/haproxy@1/admin.sock",
        "/etc/a@b/c@d.yml",
        "/etc/shop.yml@127.0.0.1:8080",
        "/etc/shop.yml@http://[::1]:1",
        "lb1:9999",
        "unix//x",
    ],
)
def test_an_address_without_a_user_is_told_as_it_is(address):
    assert told(address) == address
    check_address(address)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_an_address_that_no_system_knows_is_refused(provider):
    with pytest.raises(EverupError, match="holds a NUL character"):
        lb_member.run(params(lb_member, provider, address=["/run/x\0y"]), True)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_no_address_is_refused(provider):
    with pytest.raises(EverupError, match="The list of balancer addresses is empty"):
        lb_member.run(params(lb_member, provider, address=[]), True)
