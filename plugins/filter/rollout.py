# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the playbooks: candidates, plan, evidence and status, each over a pure function."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release import (
    balancers,
    budget,
    canary,
    downtime,
    hosts,
    lease,
    notification,
    reasons,
    rollout,
    status,
)
from ansible_collections.everup.deploy.plugins.module_utils._trash import lines


def _filter(function):
    """Return a filter that says an EverupError as Ansible's own."""

    def run(*arguments):
        try:
            return function(*arguments)
        except EverupError as error:
            raise AnsibleFilterError(str(error)) from error

    run.__doc__ = function.__doc__
    return run


class FilterModule:
    """Names the filters for Ansible."""

    def filters(self) -> dict:
        """Return the filters by name."""
        return {
            "rollout_candidates": _filter(rollout.candidates),
            "rollout_plan": _filter(rollout.plan_forward),
            "rollback_plan": _filter(rollout.plan_back),
            "rollout_serial": _filter(rollout.serial),
            "lease_for": _filter(lease.lease_for),
            "rollout_failed": _filter(hosts.failed),
            "rollout_lines": _filter(rollout.describe),
            "rollout_behind": _filter(hosts.behind),
            "host_answers": _filter(hosts.host_answers),
            "pool_answers": _filter(balancers.pool_answers),
            "balancers_of": _filter(balancers.balancers_of),
            "pool_members": _filter(balancers.pool_members),
            "pool_refusals": _filter(balancers.pool_refusals),
            "lost_balancers": _filter(balancers.lost_balancers),
            "mute_balancers": _filter(balancers.mute_balancers),
            "taken_out": _filter(balancers.taken_out),
            "stays_out": _filter(balancers.stays_out),
            "observed_members": _filter(balancers.observed_members),
            "member_names": _filter(balancers.member_names),
            "missing_files": _filter(hosts.missing_files),
            "rollout_stops": _filter(hosts.stops),
            "why_back": _filter(hosts.why_back),
            "failure_reason": _filter(hosts.failure_reason),
            "canary_verdict": _filter(canary.verdict),
            "silent_hosts": _filter(hosts.silent_hosts),
            "release_windows": _filter(downtime.windows),
            "availability_verdict": _filter(budget.verdict),
            "budget_refusal": _filter(budget.why_spent),
            "reason_of": _filter(reasons.reason_of),
            "over_bound": _filter(budget.over_bound),
            "release_status": _filter(status.status_lines),
            "downtime_line": _filter(status.downtime_line),
            "budget_line": _filter(status.budget_line),
            "notification": _filter(notification.notification),
            "trash_lines": _filter(lines.trash_lines),
            "drop_lines": _filter(lines.drop_lines),
        }
