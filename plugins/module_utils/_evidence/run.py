# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules contract_evidence_info and usage_snapshot do, from parameters to result."""

from __future__ import annotations

from .._db.connection import connect
from .._db.witnesses.base import Object
from .._errors import EverupError
from .._migrations.migrate import option_seconds
from .._release.evidence import HostAnswer, Policy, PoolAnswer
from .._release.gates import DEFAULT_GATES, GATES, refusal
from .._release.judge import check_policy, judge
from .._release.reasons import reason_of
from .dropped import dropped_objects
from .gather import Gatherer
from .snapshots import readings_of, write_snapshot

EVIDENCE_SPEC = {
    "version": {"type": "str", "required": True},
    "run": {"type": "str", "default": ""},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "pools": {"type": "list", "elements": "dict", "default": []},
    "known_members": {"type": "list", "elements": "str", "default": []},
    "gates": {"type": "list", "elements": "str", "choices": list(GATES), "default": list(DEFAULT_GATES)},
    "override": {"type": "dict", "default": {}},
    "soak": {"type": "str", "default": "24h"},
    "session_pattern": {"type": "str", "default": ""},
    "session_ignore": {"type": "list", "elements": "str", "default": []},
    "usage_history": {"type": "str", "default": "168h"},
    "window": {"type": "list", "elements": "str", "default": []},
    "window_timezone": {"type": "str", "default": "UTC"},
    "approvals": {"type": "int", "default": 0},
    "clock_tolerance": {"type": "str", "default": "5m"},
    "target": {"type": "str"},
    "tests_folder": {"type": "str", "default": "tests"},
    "statement_timeout": {"type": "str", "default": "5m"},
    "cache": {"type": "path"},
}
SNAPSHOT_SPEC = {
    "objects": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "str", "default": "2160h"},
    "tests_folder": {"type": "str", "default": "tests"},
    "cache": {"type": "path"},
}
_COUNTED = ("table", "column", "view", "routine")


def evidence_info(params: dict, check_mode: bool = False) -> dict:
    """Return each gate of a release's contract with its answer and its proof; changes nothing in any mode.

    Returns:
        gates (list of dicts), lines (one a gate), passes (whether the contract may run), refusal (the sentence why not),
        plan_hash (of the contract scripts that would run).

    Raises:
        EverupError: an option cannot be meant, there is no such release, or the migrations folder cannot be read.
    """
    policy = policy_of(params)
    check_policy(policy)
    said = {
        "wanted": tuple(params["hosts"]),
        "hosts": tuple(_host(answer) for answer in params["answers"]),
        "pools": tuple(_pool(pool) for pool in params["pools"]),
    }
    db = connect(params)
    try:
        facts = Gatherer(db, params).facts(params["version"], policy, said)
    finally:
        db.close()
    gates = judge(facts, policy)
    described = [gate.as_dict() for gate in gates]
    return {
        "changed": False,
        "gates": described,
        "lines": [str(gate) for gate in gates],
        "passes": all(gate.passes for gate in gates),
        "refusal": refusal(described),
        "plan_hash": facts.plan_hash,
    }


def policy_of(params: dict) -> Policy:
    """Return what the options ask for."""
    return Policy(
        gates=tuple(params["gates"]),
        override={name: reason_of(given) for name, given in params["override"].items()},
        run=params["run"],
        soak=(option_seconds(params, "soak"), params["soak"]),
        known_members=tuple(params["known_members"]),
        session_pattern=params["session_pattern"],
        session_ignore=tuple(params["session_ignore"]),
        usage_history=(option_seconds(params, "usage_history"), params["usage_history"]),
        windows=tuple(params["window"]),
        timezone=params["window_timezone"],
        approvals=params["approvals"],
        clock_tolerance=option_seconds(params, "clock_tolerance"),
    )


def _host(answer: dict) -> HostAnswer:
    if not answer.get("host"):
        raise EverupError("answers has an entry without host: give what the filter everup.deploy.host_answers returns.")
    return HostAnswer(answer["host"], answer.get("version") or "", answer.get("why") or "", answer.get("run") or "")


def _pool(pool: dict) -> PoolAnswer:
    if not pool.get("pool") or not isinstance(pool.get("seen") or {}, dict):
        raise EverupError(
            "pools has an entry without pool, or whose seen is not members by balancer: give what the filter "
            "everup.deploy.pool_answers returns."
        )
    return PoolAnswer(
        pool["pool"],
        tuple(pool.get("known") or ()),
        {balancer: tuple(names) for balancer, names in (pool.get("seen") or {}).items()},
        tuple(pool.get("mute") or ()),
        bool(pool.get("lists", True)),
        pool.get("run") or "",
    )


def usage_snapshot(params: dict, check_mode: bool) -> dict:
    """Keep what the server's counters say of the objects that contract scripts will drop.

    Returns:
        changed (whether readings were kept), readings, unknown (a sentence for each object that nothing counts), dropped (how
        many old readings went).

    Raises:
        EverupError: an object or duration cannot be read, or sqlfluff is missing.
    """
    keep = option_seconds(params, "keep")
    more = [_object(text) for text in params["objects"]]
    db = connect(params, create=False)
    try:
        gatherer = Gatherer(db, {**params, "target": None})
        objects = list(dict.fromkeys([*dropped_objects(gatherer.scripts()), *more]))
        objects = [wanted for wanted in objects if wanted.kind in _COUNTED]
        counted = gatherer.witness.counts(objects, gatherer.own_statements()) if objects else []
        now = db.query(f"SELECT {db.now()} AS now")[0]["now"]
        readings = readings_of(counted, now)
        unknown = [f"{one.object}: {one.why}" for one in counted if one.uses is None]
        if objects and not gatherer.witness.has_counters:
            unknown = [f"{wanted}: {db.name} keeps no counters of use" for wanted in objects]
        gone = 0
        if readings and not check_mode:
            gatherer.project.ledger.ensure()
            gone = write_snapshot(gatherer.project.ledger, readings, keep)
        return {
            "changed": bool(readings),
            "readings": [reading.as_dict() for reading in readings],
            "unknown": unknown,
            "dropped": gone,
        }
    finally:
        db.close()


def _object(text: str) -> Object:
    """Return the object that a text such as ``table legacy_orders`` or ``column orders.client_id`` names."""
    kind, _blank, name = text.strip().partition(" ")
    table, _dot, column = name.strip().rpartition(".")
    if kind not in _COUNTED or not name.strip() or (kind == "column" and not table):
        raise EverupError(f"objects: '{text}' is none: write 'table NAME', 'column TABLE.NAME', 'view NAME' or 'routine NAME'.")
    return Object(kind, column, table) if kind == "column" else Object(kind, name.strip())
