#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: bring one member of a load balancer pool to ready, drain or maint."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lb_member
short_description: Drain a member of a load balancer pool, take it out or put it back
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Sets the administrative state of one member of one pool, on one balancer or on each of a group, and waits until it
    is true for users - no session left, or the health check passed.
  - Every balancer is reached, the member is found on it and the right to change it is seen before anything is changed.
  - An answer of the balancer that is not success fails the task, with the answer in the message.
extends_documentation_fragment:
  - everup.deploy.lb
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  action_group:
    membership:
      - everup.deploy.all
      - everup.deploy.lb
  check_mode:
    support: full
    details: Reads every balancer, and fails where the real run would find no pool, no member or no right to change.
  diff_mode:
    support: full
    details: Shows the administrative state on each balancer, and nothing that moves by itself.
options:
  pool:
    description:
      - Name of the pool. With O(provider=haproxy) the backend, with O(provider=nginx) the upstream, with O(provider=httpd) the
        balancer without C(balancer://), with O(provider=caddy) the C(@id) of the C(reverse_proxy) handler, with
        O(provider=envoy) the cluster, with O(provider=traefik) the service.
      - V(*) for every pool that has the member, on each balancer; it is an error when none has.
    type: str
    required: true
  member:
    description:
      - Name of the member in the pool. With O(provider=haproxy) the server, with O(provider=nginx) the name in the comment behind
        the C(server) line, with O(provider=httpd) the C(route) of the C(BalancerMember). With O(provider=caddy) the C(@id) of the
        upstream, which is unique in the whole configuration and so begins with the pool and a dot; they are no part of the name,
        V(web1) is C(shop.web1). A member of these three without a name is known by its address, C(host:port).
      - With O(provider=envoy) and O(provider=traefik) the notes say where it stands.
    type: str
    required: true
  state:
    description:
      - V(drain) stops new sessions and lets running ones finish. The member stays in drain, and is still
        health-checked, after the last one.
      - V(ready) puts the member back.
      - V(maint) takes the member out at once, without waiting for running sessions and without health checks.
        Use V(drain) first where users are on it.
    type: str
    choices: [ready, drain, maint]
    required: true
  wait:
    description:
      - With O(state=drain), wait until no balancer has a session running on the member or queued for it.
      - With O(state=ready), wait until the health check passes without reserve on every balancer. V(UP 1/3) is not UP.
        A member without a health check counts as healthy.
      - With O(state=ready), a member that comes from V(maint) or V(drain) takes sessions only once it is healthy on
        every balancer. From V(maint) it goes through V(drain), because HAProxy sends requests to a
        member fresh from maintenance before it has checked it, and others do not check a member in maintenance.
      - With O(state=maint) there is nothing to wait for.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait, over all balancers. What a balancer takes to make a change, such as O(notice_seconds), is not counted.
    type: int
    default: 60
  interval:
    description: Seconds between two looks while waiting.
    type: float
    default: 0.25
  on_timeout:
    description:
      - What to do when sessions outlast a drain, such as a websocket or a download that never ends.
      - V(fail) fails the task. V(proceed) warns with the number of sessions left and goes on. They end when
        the application is stopped. A balancer that does not answer is never passed by, for it may have forgotten the drain.
      - With either, the member stays in drain and nothing is cut by this module.
      - A member that does not become healthy always fails.
    type: str
    choices: [fail, proceed]
    default: fail
notes:
  - HAProxy forgets administrative states on a reload unless they are saved to and loaded from a server state file. A
    drain that is forgotten while this module waits fails the task.
  - With C(fall 1) in its configuration HAProxy calls a member UP as soon as it leaves maintenance, before any check.
    Use C(fall 2) or more.
  - httpd forgets administrative states when it is restarted, also gracefully, unless C(BalancerPersist) is on.
  - With O(provider=httpd) a drain waits for the requests that run (C(Busy)). A balancer with C(stickysession) goes on sending
    a draining member the requests of those who have its route.
  - httpd sends a member that failed a request (C(Err)) no other for C(retry) seconds, 60 by default. Such a member is not
    serving, so give O(timeout) longer than that, or members a short C(retry).
  - With O(provider=caddy) a member that is taken out moves from C(upstreams) into a C(handle_response) entry of the same
    handler, for a status that no response has. It stays in the configuration and comes back to its place.
  - Caddy forgets changes of its admin API when it is started without C(--resume), and when a configuration is loaded anew, such
    as by C(caddy reload). A drain that is forgotten while this module waits fails the task.
  - Every change of its configuration makes Caddy close the websockets of every handler, unless the handler has
    C(stream_close_delay).
  - Caddy counts running requests for each address. An address that stands in several pools has the sessions of all of them.
  - With O(provider=caddy) pools with C(dynamic_upstreams), or with weights by place, are refused.
seealso:
  - module: everup.deploy.lb_member_info
"""

EXAMPLES = r"""
- name: Drain web1 from pool shop on both balancers (at most 2 min)
  everup.deploy.lb_member:
    address: [lb1.example.com:9999, lb2.example.com:9999]
    pool: shop
    member: web1
    state: drain
    timeout: 120
  delegate_to: localhost

- name: Put web1 back into pool shop once it is healthy
  everup.deploy.lb_member:
    address: [/run/haproxy/admin.sock]
    pool: shop
    member: web1
    state: ready
  delegate_to: lb1

- name: Drain web1 from the pool of an Apache httpd
  everup.deploy.lb_member:
    provider: httpd
    address: https://lb1.example.com/balancer-manager
    url_username: deploy
    url_password: "{{ vault_balancer_password }}"
    health_url: http://{address}/health
    pool: shop
    member: web1
    state: drain
  delegate_to: localhost

- name: Drain web1 from the cluster shop of the Envoy on lb1
  everup.deploy.lb_member:
    provider: envoy
    address: [http://127.0.0.1:9901]
    pool: shop
    member: web1
    state: drain
  delegate_to: lb1

- name: Drain web1 from the service shop of the Traefik on lb1
  everup.deploy.lb_member:
    provider: traefik
    address: [/etc/traefik/dynamic/shop.yml@127.0.0.1:8080]
    health_url: http://{address}/health
    pool: shop
    member: web1
    state: drain
  delegate_to: lb1

- name: Drain web1 from every backend that it is a server of
  everup.deploy.lb_member:
    address: [/run/haproxy/admin.sock]
    pool: '*'
    member: web1
    state: drain
  delegate_to: lb1

- name: Drain the websocket server for 5 min, then go on whoever is still connected
  everup.deploy.lb_member:
    address: [/run/haproxy/admin.sock]
    pool: live
    member: "{{ inventory_hostname }}"
    state: drain
    timeout: 300
    on_timeout: proceed
  delegate_to: lb1
"""

RETURN = r"""
members:
  description:
    - The member on each balancer, and in each of its pools where all are asked for, before and after. Also returned on a
      time-out, with what was last seen.
  returned: when every balancer was reached
  type: list
  elements: dict
  contains:
    balancer:
      description: Address of the balancer, as given.
      type: str
      sample: lb1.example.com:9999
    pool:
      description: Name of the pool.
      type: str
      sample: shop
    member:
      description: Name of the member.
      type: str
      sample: web1
    address:
      description: Where the balancer sends the member's requests.
      type: str
      sample: 192.0.2.11:8080
    before:
      description: What the balancer said of the member at first.
      type: dict
      contains: &facts
        state:
          description:
            - Administrative state, V(ready), V(drain) or V(maint).
            - V(changing) is what a change that was cut short has left. Neither is certain, and any state can be set.
          type: str
          sample: ready
        health:
          description: What the health check says, in the balancer's words.
          type: str
          sample: DOWN (L4CON)
        healthy:
          description: Whether the health check passes without reserve. True where nothing is checked.
          type: bool
          sample: true
        serving:
          description: Whether new sessions reach it and it is known to answer them.
          type: bool
          sample: true
        sessions:
          description: Sessions running on the member or queued for it.
          type: int
          sample: 57
        weight:
          description: Share of new sessions.
          type: int
          sample: 1
        backup:
          description: Whether it gets sessions only once no other member is left; a roll-out does not count it as capacity.
          type: bool
          sample: false
    after:
      description: What the balancer said of the member at last. In check mode as before, but for the state.
      type: dict
      contains: *facts
waited_seconds:
  description: Seconds spent waiting.
  returned: when every balancer was reached
  type: float
  sample: 3.25
"""

from ..module_utils._lb.members import apply_state
from ..module_utils._lb.providers import argument_spec, connect, required_if
from ..module_utils._module import run_module

ARGUMENT_SPEC = argument_spec(
    pool={"type": "str", "required": True},
    member={"type": "str", "required": True},
    state={"type": "str", "choices": ["ready", "drain", "maint"], "required": True},
    wait={"type": "bool", "default": True},
    timeout={"type": "int", "default": 60},
    interval={"type": "float", "default": 0.25},
    on_timeout={"type": "str", "choices": ["fail", "proceed"], "default": "fail"},
)


def run(params: dict, check_mode: bool) -> dict:
    """Bring the member to the wanted state and return what it was and is."""
    return apply_state(
        connect(params),
        params["pool"],
        params["member"],
        params["state"],
        wait=params["wait"],
        timeout=params["timeout"],
        interval=params["interval"],
        on_timeout=params["on_timeout"],
        check_mode=check_mode,
    )


def main() -> None:
    run_module(ARGUMENT_SPEC, run, required_if=required_if())


if __name__ == "__main__":
    main()
