#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: measure from a host what users meet, by a process that outlives the run which started it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: availability_probe
short_description: Measure downtime at a fixed rate while something else goes on
version_added: 0.2.0
author: everup.deploy contributors (@everup)
description:
  - Starts, ends and reads a small process on the host that asks URLs at a fixed rate and keeps a journal of the answers.
  - Requests are due at fixed times, whatever became of those before; latencies count from then. So an application that hangs
    cannot slow its own measurement down.
  - The process belongs to no session. It goes on when the controller dies, and the same task finds it again.
  - It ends by itself after O(max_duration), or when its folder is gone. It needs nothing but Python on the host.
  - See docs/downtime.md for what the figures mean, and what they cannot prove.
options:
  state:
    description:
      - V(started) starts the process, unless it runs. What an earlier one has left is gone then.
      - V(stopped) ends it and returns its figures, also those of one that has ended before.
      - V(reported) returns the figures, of a process that goes on or has ended, and changes nothing.
    type: str
    choices: [started, stopped, reported]
    default: reported
  name:
    description: Which probe; each has a folder of its own.
    type: str
    required: true
  folder:
    description: Where the folders of probes are, which must be open to nobody else.
    type: path
    default: ~/.cache/everup.deploy/availability
  urls:
    description:
      - What to ask with GET, as V(http://) or V(https://), through the balancer as users do. Redirects are not followed.
      - They are seen in output and logs, so no password belongs here. The ledger and RV(report) have them without their query.
      - Required with O(state=started).
    type: list
    elements: str
    default: []
  rate:
    description: How many times a second each URL is asked.
    type: float
    default: 10
  timeout:
    description: Seconds within which the whole answer must have come, from when a request was begun.
    type: float
    default: 2
  status:
    description: The statuses that are good; all from 200 to 399 where none are named.
    type: list
    elements: int
    default: []
  headers:
    description: Headers to send that anybody may see, such as V(Host).
    type: dict
    default: {}
  secret_headers:
    description: Headers to send whose values must not be seen in any output, log or file, such as V(Authorization).
    type: dict
    default: {}
  write:
    description:
      - A request that writes, where reading alone does not prove enough. It is sent for real, O(write.rate) times a second, so it
        must be one that the application bears to have again and again.
    type: dict
    suboptions:
      url:
        description: What to ask; the same as O(urls).
        type: str
        required: true
      method:
        description: How to ask.
        type: str
        choices: [POST, PUT, PATCH, DELETE]
        default: POST
      body:
        description: What to send. It is seen in output and logs; what is secret belongs in O(secret_headers).
        type: str
        default: ""
      headers:
        description: Headers beside O(headers) and O(secret_headers), such as V(Content-Type).
        type: dict
        default: {}
      rate:
        description: How many times a second.
        type: float
        default: 1
  validate_certs:
    description: Whether the certificate of an V(https://) address must be valid.
    type: bool
    default: true
  max_duration:
    description: Seconds after which the process ends by itself.
    type: float
    default: 43200
  max_in_flight:
    description:
      - How many requests may be under way at once. One that is due while so many are fails.
      - By default as many as can be when every one takes as long as it may.
    type: int
  during:
    description:
      - What C(during) means in the figures, as times of the ledger; from the first to the last of those windows that overlap the
        run.
      - As P(everup.deploy.release_windows#filter) returns it.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: Its beginning, such as V(2026-11-20T10:00:00.000Z); nothing for a window that has not begun.
        type: str
      to:
        description: Its end; nothing for one that is open.
        type: str
  detail:
    description: Whether to return buckets, intervals and latencies as well.
    type: bool
    default: true
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: full
    details: Starts and ends nothing. The figures are read for real, and each URL that is read is asked once where it would start.
  diff_mode:
    support: full
seealso:
  - module: everup.deploy.availability_record
"""

EXAMPLES = r"""
- name: Measure while the shop is released
  everup.deploy.availability_probe:
    state: started
    name: shop-2.4.0
    urls: ["https://shop.example.com/", "https://shop.example.com/orders"]
    secret_headers:
      Authorization: Bearer {{ shop_probe_token }}

- name: See what users have met so far
  everup.deploy.availability_probe:
    name: shop-2.4.0
    detail: false
  register: seen

- name: End the measurement
  everup.deploy.availability_probe:
    state: stopped
    name: shop-2.4.0
  register: measured
"""

RETURN = r"""
running:
  description: Whether the process runs now.
  type: bool
  returned: success
run:
  description: The name of the run, which is another one each time that it is started.
  type: str
  returned: success
silent_s:
  description: For how many seconds the process that runs has written nothing, which is about one while all is well.
  type: float
  returned: success, and nothing where none runs
unanswered:
  description:
    - The URLs that are read and did not answer well before anything had begun, each with the reason.
    - They are asked once when a measurement begins, and in check mode when one would.
  type: list
  elements: dict
  returned: with O(state=started)
  contains:
    url:
      description: What was asked, without query.
      type: str
    reason:
      description: Why that was no good answer, such as V(HTTP 404).
      type: str
report:
  description: The figures of the run that goes on, or of the last one; nothing where there was none, and with O(state=started).
  type: dict
  returned: success
  contains:
    targets:
      description: What was asked, without query.
      type: list
      elements: str
    started_at:
      description: When it began, by the host's clock.
      type: str
    ended_at:
      description: How far it has come, or when it ended.
      type: str
    end:
      description: V(running), V(stopped), V(max_duration), V(abandoned) when its folder was taken away, or V(died).
      type: str
    requests:
      description: How many requests were due.
      type: int
    failed:
      description: How many of them failed.
      type: int
    missed:
      description: How many were not asked because the process itself got no time; they count as neither.
      type: int
    downtime_ms:
      description: How long any of the URLs was down.
      type: int
    longest_gap_ms:
      description: The longest time in which one URL that is read completed no good answer.
      type: int
    reasons:
      description: How many requests failed for each reason.
      type: dict
    failed_at:
      description: How many requests failed at each of the targets, the one with the most first, and none without.
      type: dict
    definition:
      description: What these figures mean, in words.
      type: str
      returned: with O(detail=true)
    bucket_s:
      description: How many seconds a bucket has.
      type: int
      returned: with O(detail=true)
    buckets:
      description: Offset in seconds, requests, failed, and the latencies p50, p99 and longest in ms, of each bucket.
      type: list
      elements: list
      returned: with O(detail=true)
    down:
      description: From when to when it was down, in seconds from the start.
      type: list
      elements: list
      returned: with O(detail=true)
    latency:
      description: Requests, failed and latencies C(before), C(during) and C(after).
      type: dict
      returned: with O(detail=true)
"""

from ansible_collections.everup.deploy.plugins.module_utils._module import run_module
from ansible_collections.everup.deploy.plugins.module_utils._probe.probe import run_probe

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["started", "stopped", "reported"], "default": "reported"},
    "name": {"type": "str", "required": True},
    "folder": {"type": "path", "default": "~/.cache/everup.deploy/availability"},
    "urls": {"type": "list", "elements": "str", "default": []},
    "rate": {"type": "float", "default": 10},
    "timeout": {"type": "float", "default": 2},
    "status": {"type": "list", "elements": "int", "default": []},
    "headers": {"type": "dict", "default": {}},
    "secret_headers": {"type": "dict", "default": {}, "no_log": True},
    "write": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "method": {"type": "str", "choices": ["POST", "PUT", "PATCH", "DELETE"], "default": "POST"},
            "body": {"type": "str", "default": ""},
            "headers": {"type": "dict", "default": {}},
            "rate": {"type": "float", "default": 1},
        },
    },
    "validate_certs": {"type": "bool", "default": True},
    "max_duration": {"type": "float", "default": 43200},
    "max_in_flight": {"type": "int"},
    "during": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"from": {"type": "str"}, "to": {"type": "str"}},
    },
    "detail": {"type": "bool", "default": True},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run_probe, required_if=[("state", "started", ("urls",))])


if __name__ == "__main__":
    main()
