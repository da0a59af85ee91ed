#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: wait on the host until an application answers as it should, and warm it up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Wait until an application is healthy
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Asks O(url) from the managed host, straight past any balancer and any proxy, until enough responses in a row are
    good or the time is up. In place of it O(tcp) connects to a port, and O(command) runs a command.
  - Condition and version are judged on the control node, so hosts need nothing but Python. Usually one round trip is enough.
  - Redirects are not followed, since the page behind one says nothing of the application. A redirect is good only when
    its status is in O(status).
options:
  url:
    description:
      - The address to ask, as V(http://) or V(https://).
      - It is seen in output and logs, so a password belongs in O(secret_headers), not here.
      - Exactly one of O(url), O(tcp) and O(command) is required.
    type: str
  tcp:
    description: A port to connect to, as V(host:port), or V([address]:port) for IPv6. That it takes connections is good.
    type: str
  command:
    description:
      - A command to run on the host, as a list of words. Exit code V(0) is good.
      - It runs without a shell, and is killed when it takes longer than O(request_timeout).
      - It is seen in output and logs, so no password belongs here.
    type: list
    elements: str
  status:
    description: The status codes that are good.
    type: list
    elements: int
    default: [200]
  condition:
    description:
      - A JMESPath expression that must be true of the JSON body.
      - As in JMESPath, V(false), V(null) and an empty string, list or object are false, and all else is true, V(0) too.
      - A body that is no JSON, and a function that cannot take what it is given, is not good yet. An expression that
        can never be evaluated fails at once.
      - Needs the Python library jmespath on the control node.
    type: str
  version:
    description:
      - The version that the application must say it runs, at O(version_path) of the JSON body.
      - A number in the body is compared by how it is written.
      - Needs the Python library jmespath on the control node.
    type: str
  version_path:
    description: A JMESPath expression that gives the version in the JSON body.
    type: str
    default: version
  max_latency:
    description:
      - How long a response may take to be good, in seconds, from name resolution to the end of the body. By default there is
        no such bound.
      - One that takes longer is waited for up to O(request_timeout), so that the error can say how long it took.
    type: float
  consecutive:
    description: How many responses in a row must be good.
    type: int
    default: 3
  interval:
    description: Time from the beginning of one request to that of the next, in seconds.
    type: float
    default: 1
  timeout:
    description: Bound on the whole wait, in seconds.
    type: float
    default: 60
  request_timeout:
    description: Bound on each request, in seconds, from name resolution to the end of the body.
    type: float
    default: 5
  headers:
    description: Headers to send that anybody may see, such as V(Host).
    type: dict
    default: {}
  secret_headers:
    description: Headers to send whose values must not be seen in any output or log, such as V(Authorization).
    type: dict
    default: {}
  validate_certs:
    description: Whether the certificate of an V(https://) address must be valid.
    type: bool
    default: true
  warm_up:
    description:
      - Pages to ask for once the application is healthy, so that its caches and pools are filled before it gets traffic.
      - Paths are seen from O(url); whole V(http://) or V(https://) addresses are taken as they are.
      - The answers are not judged. RV(warm_up) says how many failed.
      - Headers are sent to pages of the same scheme, host and port as O(url) only.
    type: list
    elements: str
    default: []
  warm_up_count:
    description: How many times each page is asked for, one request after the other.
    type: int
    default: 1
  warm_up_timeout:
    description: Bound on the whole warm-up, in seconds. Each request is bound by O(request_timeout) as well.
    type: float
    default: 30
  _progress:
    description: Not for playbooks. What earlier round trips of the same wait found, from the action plugin.
    type: dict
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: partial
    details:
      - O(url) and O(tcp) only read, so they are asked in check mode as well, and waited for.
      - O(command) may do anything, so it is not run, and the task is skipped. Pages of O(warm_up) are not asked for either.
      - Skip the task there when what it waits for is not brought about in check mode.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Wait until the shop is healthy at the new version
  everup.deploy.health_check:
    url: http://127.0.0.1:8080/healthz
    condition: status == 'ok'
    version: 2.4.0
    version_path: build.version
    max_latency: 0.5
    timeout: 120
    warm_up: [/, /catalog, "/search?q=shoes"]
    warm_up_count: 5
  when: not ansible_check_mode

- name: Wait until the message broker takes connections
  everup.deploy.health_check:
    tcp: 127.0.0.1:5672

- name: Wait until the worker says that it is ready
  everup.deploy.health_check:
    command: [/srv/shop/current/bin/worker, --ready]
    request_timeout: 10

- name: Wait for a certificate and a virtual host
  everup.deploy.health_check:
    url: https://{{ inventory_hostname }}:8443/ready
    status: [200, 204]
    headers:
      Host: shop.example.com
    secret_headers:
      Authorization: Bearer {{ shop_probe_token }}
"""

RETURN = r"""
status:
  description: Status of the last response; null when the last request got none, and with O(tcp).
  returned: when at least one request was made, and not with O(command)
  type: int
  sample: 200
rc:
  description: Exit code of the last run; null when it did not come to its end.
  returned: with O(command), and not in check mode
  type: int
  sample: 0
skipped:
  description: That nothing was looked at, since this is check mode.
  returned: with O(command) in check mode
  type: bool
  sample: true
  version_added: 0.2.0
version:
  description: The version that the last good response named.
  returned: success, with O(version)
  type: str
  sample: 2.4.0
latency:
  description: How long the last response took, in seconds.
  returned: success, when at least one request was made
  type: float
  sample: 0.012
body:
  description: Beginning of the body of the last response, or of the output of the command.
  returned: when at least one request was made
  type: str
  sample: '{"status": "ok", "version": "2.4.0"}'
polls:
  description: How many requests were made.
  returned: when at least one request was made
  type: int
  sample: 3
elapsed:
  description: How long the wait took, in seconds.
  returned: when at least one request was made
  type: float
  sample: 2.014
warm_up:
  description: How the warm-up went.
  returned: success, with O(warm_up)
  type: dict
  contains:
    requests:
      description: How many requests were made.
      type: int
    errors:
      description: How many of them got no response, or a status from 400.
      type: int
    last_error:
      description: What the last of these was; empty without any.
      type: str
    skipped:
      description: How many requests were not made, because the time was over or this is check mode.
      type: int
    elapsed:
      description: How long it took, in seconds.
      type: float
url:
  description: What was asked, without user and password.
  returned: when the time was up, with O(url)
  type: str
  sample: http://127.0.0.1:8080/healthz
"""

from ansible_collections.everup.deploy.plugins.module_utils._app.health import Response, check_options, is_judged, subject, watch
from ansible_collections.everup.deploy.plugins.module_utils._app.http import request
from ansible_collections.everup.deploy.plugins.module_utils._app.probe import connect, execute, parse_address
from ansible_collections.everup.deploy.plugins.module_utils._app.warm_up import targets, untouched, warm_up, warnings
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    "url": {"type": "str"},
    "tcp": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "condition": {"type": "str"},
    "version": {"type": "str"},
    "version_path": {"type": "str", "default": "version"},
    "max_latency": {"type": "float"},
    "consecutive": {"type": "int", "default": 3},
    "interval": {"type": "float", "default": 1},
    "timeout": {"type": "float", "default": 60},
    "request_timeout": {"type": "float", "default": 5},
    "headers": {"type": "dict", "default": {}},
    "secret_headers": {"type": "dict", "default": {}, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "warm_up": {"type": "list", "elements": "str", "default": []},
    "warm_up_count": {"type": "int", "default": 1},
    "warm_up_timeout": {"type": "float", "default": 30},
    # Between the action plugin and this module only: what earlier calls of the same wait found, or that it is over.
    "_progress": {"type": "dict"},
}
_KINDS = ("url", "tcp", "command")


def run(params: dict, check_mode: bool) -> dict:
    """Wait until the application is healthy, then warm it up; with a condition each is a call of its own."""
    headers = {name: str(value) for name, value in {**params["headers"], **params["secret_headers"]}.items()}
    pages = targets(params["warm_up"], params["url"])

    def get(url: str, is_ours: bool, timeout: float) -> Response:
        return request(url, headers if is_ours else {}, params["validate_certs"], timeout)

    is_over = bool(params["_progress"] and params["_progress"].get("healthy"))
    result = {} if is_over else _wait(params, check_mode, get)
    warms_up = pages and (is_over or not is_judged(params))
    if warms_up and check_mode:
        result["warm_up"] = untouched(pages, params)
    elif warms_up:
        result["warm_up"] = warm_up(pages, params, get)
        result["warnings"] = warnings(result["warm_up"])
    return result


def _wait(params: dict, check_mode: bool, get) -> dict:
    """Return what watch() does; in check mode a command is not run."""
    if check_mode and params["command"]:
        check_options(params)
        return {"skipped": True, "msg": f"{subject(params)} was not run, since this is check mode."}
    return watch(params, _look(params, get))


def _look(params: dict, get):
    """Return what makes one look within a number of seconds."""
    if params["command"]:
        return lambda timeout: execute(params["command"], timeout)
    if params["tcp"]:
        address = parse_address(params["tcp"])
        return lambda timeout: connect(address, timeout)
    return lambda timeout: get(params["url"], True, timeout)


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run, mutually_exclusive=[_KINDS], required_one_of=[_KINDS])


if __name__ == "__main__":
    main()
