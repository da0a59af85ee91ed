# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two runs change one balancer at once, whose configuration each of them reads, changes and writes back."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError

MEMBERS = ("web1", "web2")


def at_once(act) -> None:
    """Run act(member) for both members at the same time, and wait for both."""
    runs = [threading.Thread(target=act, args=(member,)) for member in MEMBERS]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert not any(run.is_alive() for run in runs)


@pytest.mark.parametrize("rig_class", ["caddy", "httpd"], indirect=True)
def test_neither_loses_an_order(lb, rig):
    failures = []

    def move(member: str) -> None:
        try:
            for state in ["drain", "maint", "ready"] * 5 + ["drain"]:
                lb.balancer(rig).set_state("shop", member, state)
        except EverupError as error:
            failures.append(str(error))

    at_once(move)
    assert failures == []
    assert [member["state"] for member in lb.info(rig, pool="shop")["members"]] == ["drain", "drain"]


@pytest.mark.parametrize("rig_class", ["envoy", "nginx", "traefik"], indirect=True)
def test_neither_loses_an_edit_that_is_waited_for(lb, rig):
    for state in ("drain", "ready", "maint", "ready"):
        at_once(lambda member, state=state: lb.move(rig, state, member=member, wait=False))
        assert [lb.facts(rig, member=member)["state"] for member in MEMBERS] == [state] * 2
