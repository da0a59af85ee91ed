# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the state of a release as lines for a terminal."""

from __future__ import annotations

from .._moments import in_words
from . import process

_EARLIER = 5


def status_lines(release_info: dict, migration_info: dict) -> list[str]:
    """Return what an operator wants to know at a glance.

    Parameters:
        release_info: result of the ``release_info`` module.
        migration_info: result of the ``migration_info`` module.
    """
    release = release_info["release"]
    lines = [f"database    {migration_info['engine']} {migration_info['server_version']}"]
    for phase in ("expand", "contract"):
        facts = migration_info[phase]
        pending = ", ".join(script["version"] for script in facts["pending"]) or "none"
        lines.append(f"{phase:<11} at {facts['current'] or 'nothing yet'}, pending: {pending}")
        lines += [f"            {row['script']} {row['state']}: {row['error'] or ''}" for row in facts["unfinished"]]
        lines += [f"            {script['script']} was edited after it was applied" for script in facts["changed_since"]]
        lines += [f"            {script} is in the history and not on disk" for script in facts["missing"]]
    if not release:
        return [*lines, "release     none yet", *_downtime_lines(release_info["downtime"])]
    since = release.get(f"{release['state']}_at") or release["opened_at"]
    lines.append(f"release     {release['version']} is {release['state']} since {since}, opened by {release['opened_by']}")
    lines += [f"            {release['reason']}"] if release["reason"] else []
    lease = release_info["lease"]
    is_dead = bool(lease and lease["holder"] and process.is_dead(lease["holder_process"]))
    is_held = bool(lease and lease["holder"] and lease["seconds_left"] > 0) and not is_dead
    lines.append(f"next        {release_info['next_step']}" + (", once the run that holds the lease is over" if is_held else ""))
    lines += [f"waits for   {what}" for what in _waits_for(release_info)]
    lines += _downtime_lines(release_info["downtime"])
    if lease and lease["holder"]:
        left = f"expires in {lease['seconds_left']:.0f} s" if lease["seconds_left"] > 0 else "expired"
        lines.append(
            f"lease       {lease['holder']}, process {lease['holder_process'].get('pid')}, since {lease['taken_at']}, "
            + ("which is dead: the same command goes on at once" if is_dead else left)
        )
    for host, row in release_info["members"].items():
        versions = f"{row['version_before'] or '?'} -> {row['version_after'] or '?'}"
        reason = f"  {row['reason']}" if row["reason"] else ""
        lines.append(f"{host:<11} {row['state']:<11} {versions:<20} {row['changed_at']}{reason}")
    earlier = [f"{row['version']} {row['state']}" for row in release_info["releases"] if row["id"] < release["id"]]
    if earlier:
        lines.append(f"before      {', '.join(reversed(earlier[-_EARLIER:]))}")
    return lines


def _waits_for(release_info: dict) -> list[str]:
    """Return what keeps a release that is rolled out from its contract: the rest of the soak, and gates that were not open."""
    if release_info["release"]["state"] not in ("rolled", "failed") or release_info["release"]["reached"] != "rolled":
        return []
    left = release_info.get("soak_seconds_left") or 0
    judged = [event for event in release_info["events"] if event["what"] == "contract_evidence"]
    gates = judged[-1]["detail"]["gates"] if judged else []
    waits = [f"the rest of the soak, {in_words(left)}"] if left > 0 else []
    shut = [gate for gate in gates if not gate["passes"] and gate["name"] != "soak"]
    return waits + [f"the gate {gate['name']}, at {judged[-1]['at']}: {gate['proof']}" for gate in shut]


def _downtime_lines(downtime: dict) -> list[str]:
    """Return a line for each run of the probe, and one for what is left of the budget."""
    lines = [f"downtime    {downtime_line(run)}" for run in downtime["runs"]]
    return [*lines, f"budget      {budget_line(downtime['budget'])}"] if downtime["budget"] else lines


def downtime_line(run: dict) -> str:
    """Return what users have met in a run of the probe, a report or a row of the ledger."""
    return (
        f"{in_words(run['downtime_ms'] / 1000)}, longest gap {in_words(run['longest_gap_ms'] / 1000)}; "
        f"{run['failed']} of {run['requests']} requests failed from {run['started_at']} to {run['ended_at']}"
    )


def budget_line(budget: dict) -> str:
    """Return what is spent of a budget and what is left, as Downtime tells it."""
    again = f", something again from {budget['enough_at']} on" if budget["enough_at"] else ""
    spent, left = (in_words(budget[name] / 1000) for name in ("spent_ms", "left_ms"))
    return f"{budget['budget']}: {spent} spent, {left} left{again}"
