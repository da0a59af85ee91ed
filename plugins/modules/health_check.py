#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: wait on the host until an application answers as it should."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Wait until an application is healthy
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Asks O(url) from the managed host, straight past any balancer and any proxy, until enough responses in a row are
    good or the time is up.
  - The condition is evaluated on the control node, so hosts need nothing but Python. Usually one round trip is enough.
  - Redirects are not followed, since the page behind one says nothing of the application. A redirect is good only when
    its status is in O(status).
options:
  url:
    description:
      - The address to ask, as V(http://) or V(https://).
      - It is seen in output and logs, so a password belongs in O(secret_headers), not here.
    type: str
    required: true
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
  _progress:
    description: Not for playbooks. What earlier round trips of the same wait found, from the action plugin.
    type: dict
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: full
    details:
      - It only reads, so it does the same in check mode and waits for real.
      - Skip it there when what it waits for is not brought about in check mode.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Wait until the shop is healthy at the new version
  everup.deploy.health_check:
    url: http://127.0.0.1:8080/healthz
    condition: status == 'ok' && version == '2.4.0'
    timeout: 120
  when: not ansible_check_mode

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
  description: Status of the last response; null when the last request got none.
  returned: when at least one request was made
  type: int
  sample: 200
body:
  description: Beginning of the body of the last response.
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
url:
  description: What was asked, without user and password.
  returned: when the time was up
  type: str
  sample: http://127.0.0.1:8080/healthz
"""

from ansible_collections.everup.deploy.plugins.module_utils._app.health import watch
from ansible_collections.everup.deploy.plugins.module_utils._app.http import request
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    "url": {"type": "str", "required": True},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "condition": {"type": "str"},
    "consecutive": {"type": "int", "default": 3},
    "interval": {"type": "float", "default": 1},
    "timeout": {"type": "float", "default": 60},
    "request_timeout": {"type": "float", "default": 5},
    "headers": {"type": "dict", "default": {}},
    "secret_headers": {"type": "dict", "default": {}, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    # Between the action plugin and this module only: what earlier calls of the same wait found.
    "_progress": {"type": "dict"},
}


def run(params: dict, check_mode: bool) -> dict:
    """Wait until the application is healthy."""
    headers = {name: str(value) for name, value in {**params["headers"], **params["secret_headers"]}.items()}
    return watch(params, lambda timeout: request(params["url"], headers, params["validate_certs"], timeout))


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
