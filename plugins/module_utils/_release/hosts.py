# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says from what hosts have told in a run, which of them serve, which have failed, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .versions import is_at_least

# States of a host that an earlier run has left somewhere on its way.
STRANDED = ("draining", "upgrading", "healthy", "failed")
_TASKS_FILES = [
    "rolling_upgrade_smoke_tests",
    *(f"rolling_upgrade_custom_{step}" for step in ("drain", "ready", "stage", "upgrade", "version", "go_back")),
]
_LAST_WORDS = 300  # characters of a failed command's output
# All that ansible.builtin.command says of a program that is not there (ansible-core 2.19).
_NO_PROGRAM = "Error executing command"


def behind(hosts: list, hostvars: Mapping, version: str) -> list[str]:
    """Return a sentence for each host that did not say, when asked just now, that it runs a version: not known is no.

    Parameters:
        hosts: every host of the release's web groups.
        hostvars: with rolling_upgrade_evidence, the registered answer of each host's health check, skipped where it has no
            health URL or, in check mode, where it has a command, and missing where it was not reachable; and, once
            rolling_upgrade_said_version, with rolling_upgrade_version_now, empty where it is not known; and
            rolling_upgrade_names_version, whether the health check asks for the version.
        version: the version it must run.
    """
    return [why for why in (_why_behind(host, hostvars[host], version) for host in hosts) if why]


def host_answers(hosts: list, hostvars: Mapping, version: str) -> list[dict]:
    """Return what each host said when it was asked for evidence: host, version, why (not), and the run that asked it.

    Parameters:
        hosts, hostvars, version: see behind(); with rolling_upgrade_said_run, the mark of the run.
    """
    return [
        {
            "host": host,
            "version": hostvars[host].get("rolling_upgrade_version_now") or "",
            "why": _why_behind(host, hostvars[host], version),
            "run": hostvars[host].get("rolling_upgrade_said_run") or "",
        }
        for host in hosts
    ]


def _why_behind(host: str, variables: Mapping, version: str) -> str:
    evidence, now = variables.get("rolling_upgrade_evidence"), variables.get("rolling_upgrade_version_now") or ""
    if not isinstance(evidence, Mapping) or evidence.get("unreachable"):
        return f"{host} did not answer"
    is_asked = not evidence.get("skipped")
    if is_asked and _is_failure(evidence):
        return f"{host} does not serve {version}: {evidence.get('msg') or 'no reason given'}"
    if not variables.get("rolling_upgrade_said_version"):
        return f"{host} could not say which version it has installed"
    if now and not is_at_least(now, version):
        return f"{host} has {now} installed"
    if not now and not (is_asked and variables.get("rolling_upgrade_names_version")):
        return (
            f"it cannot be known which version {host} serves: give it rolling_upgrade_health_url with "
            "rolling_upgrade_health_version_path, or, with the custom strategy, rolling_upgrade_custom_version"
        )
    return ""


def _is_failure(evidence: Mapping) -> bool:
    """Return whether a health check did not succeed; under ``failed_when: false`` a failure says failed=false of itself.

    Its module gives ``msg`` with a failure alone, and ``polls`` with every success.
    """
    return bool(evidence.get("failed") or evidence.get("msg") or not evidence.get("polls"))


def silent_hosts(hosts: list, hostvars: Mapping) -> list[str]:
    """Return the hosts that did not come to the end of the preflight: unreachable, or failed, or led by a host that failed."""
    return [host for host in hosts if not hostvars[host].get("rolling_upgrade_passed")]


def stops(hosts: list, hostvars: Mapping) -> list[str]:
    """Return why a roll-out stopped, in the order of its hosts, each reason once with the hosts it holds for."""
    reasons: dict = {}
    for host in hosts:
        reason = hostvars[host].get("rolling_upgrade_failure")
        if reason:
            reasons.setdefault(reason, []).append(host)
    return [f"{', '.join(named)}: {reason}" for reason, named in reasons.items()]


def failed(hosts: list, hostvars: Mapping, members: Mapping) -> list[str]:
    """Return the hosts whose upgrade failed in this run, or that went unreachable in the middle of it.

    Parameters:
        hosts: of the plan, in order.
        hostvars: with rolling_upgrade_host_failed, and rolling_upgrade_leaving once a host has begun to leave its pool.
        members: the release's ledger rows by host, once the batches are over.
    """
    return [
        host
        for host in hosts
        if hostvars[host].get("rolling_upgrade_host_failed")
        or ("rolling_upgrade_leaving" in hostvars[host] and (members.get(host) or {}).get("state") in STRANDED)
    ]


def why_back(failed_hosts: list, hostvars: Mapping) -> str:
    """Return why hosts that serve go back: which others failed, and of what.

    Parameters:
        failed_hosts: as failed() returns them.
        hostvars: with rolling_upgrade_failure of each, unless it went unreachable.
    """
    reasons = [
        f"{host} failed: {hostvars[host].get('rolling_upgrade_failure') or 'it went unreachable'}" for host in failed_hosts
    ]
    return f"taken back, since {'; '.join(reasons)}"


def missing_files(hosts: list, hostvars: Mapping) -> list[str]:
    """Return a sentence for each tasks file of the team's own that is not there.

    Ansible counts a host as lost when a file that it includes is missing, and ends the run with its batch, even with exit code 0
    (ansible-core 2.19). A relative path is Ansible's to find, and not looked at.

    Parameters:
        hosts: of the release.
        hostvars: with rolling_upgrade_hooks, rolling_upgrade_smoke_tests and rolling_upgrade_custom_* of each.
    """
    found: dict[str, list[str]] = {}
    for host in hosts:
        variables = hostvars[host]
        named = {f"rolling_upgrade_hooks.{name}": path for name, path in (variables.get("rolling_upgrade_hooks") or {}).items()}
        named |= {name: variables.get(name) for name in _TASKS_FILES}
        for name, path in named.items():
            if path and Path(str(path)).is_absolute() and not Path(str(path)).is_file():
                found.setdefault(f"{name} is '{path}', and there is no such file", []).append(host)
    return [f"{sentence} ({', '.join(of)})" for sentence, of in found.items()]


def failure_reason(result: Mapping) -> str:
    """Return why a task failed: its message, or those of the failed items of a loop, with the last words of a command.

    Of what is marked ``no_log`` nothing is told. Ansible hides it where it prints; ``ansible_failed_result`` has all of it
    (ansible-core 2.19).
    """
    items = [item for item in result.get("results", []) if item.get("failed") or item.get("unreachable")]
    is_hidden = bool(result.get("_ansible_no_log"))
    return "; ".join(_why_failed(item, item.get("_ansible_no_log", is_hidden)) for item in items or [result])


def _why_failed(item: Mapping, is_hidden: bool) -> str:
    if is_hidden:
        return "failed; its output is hidden (no_log)"
    said = " ".join(str(item.get("stderr") or item.get("stdout") or "").split())[-_LAST_WORDS:]
    message = str(item.get("msg") or item.get("reason") or "no reason given")
    if message.rstrip(".") == _NO_PROGRAM and item.get("cmd"):
        command = item["cmd"] if isinstance(item["cmd"], str) else " ".join(map(str, item["cmd"]))
        return f"{_NO_PROGRAM} '{command}': is it there, and may this user run it?"
    return f"{message} (exit code {item['rc']}): {said}" if item.get("rc") and said else message
