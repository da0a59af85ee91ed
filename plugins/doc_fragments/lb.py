# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options by which a module finds its load balancers."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  provider:
    description: The kind of load balancer.
    type: str
    choices: [haproxy]
    default: haproxy
  address:
    description:
      - Where each balancer is asked and told.
      - With O(provider=haproxy) the path of a C(stats socket) with C(level admin), or C(host:port) of a TCP one
        (IPv6 as C([host]:port)), as seen from the host the module runs on.
      - Several addresses are one group, such as a pair with a shared address. They must all answer.
      - Required with O(provider=haproxy).
    type: list
    elements: str
  connect_timeout:
    description: Seconds one command to a balancer may take, from connecting to the end of its answer.
    type: float
    default: 5.0
"""
