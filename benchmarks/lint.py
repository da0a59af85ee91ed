# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long linting takes beside plain parsing and beside squawk, and what each of the two linters finds of the other's rules.

Speed: 500 different PostgreSQL scripts (`--scale small`: 40), each tool as a command of its own. `sqlfluff parse` is one
process, and so is ours beside it; squawk is compiled and has a parser of its own. Recall: the statements of the tests'
corpus that stand for squawk's rules, bad and good ones; a bad one counts where squawk itself fires, and is found where one
of our rules that cover that rule does. A false alarm is any warning or error about a good statement.
The last line is one JSON object: cold_vs_plain_parse, warm_500_s, files_per_second, recall_vs_squawk, false_alarms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml
from ansible_collections.everup.deploy.plugins.module_utils._lint.lint import lint_sql
from ansible_collections.everup.deploy.plugins.module_utils._lint.parse import Parser
from ansible_collections.everup.deploy.plugins.module_utils._lint.peers import LEFT_OUT, covered_by
from ansible_collections.everup.deploy.plugins.module_utils._lint.rule import NOTICE, POSTGRESQL, Target

SCALES = {"full": 500, "small": 40}
ROUNDS = {"full": 3, "small": 1}
ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "unit" / "lint" / "corpus"
TIMEOUTS = {"require-lock-timeout", "require-statement-timeout"}
BIN = Path(sys.executable).parent
CLI = "import sys; from ansible_collections.everup.deploy.plugins.module_utils._lint.cli import main; sys.exit(main())"
ALONE = "everup, cold, one process"
SCRIPT = """-- {n}: orders get a new attribute, its index and a view of their own
ALTER TABLE orders_{n} ADD COLUMN attribute_{n} text NULL;
ALTER TABLE orders_{n} ADD COLUMN counted_{n} bigint NOT NULL DEFAULT {n};
CREATE TABLE attribute_kinds_{n} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attribute_kinds_{n}_name UNIQUE (name)
);
CREATE OR REPLACE VIEW order_overview_{n} AS
SELECT o.id, o.placed_on, k.name AS kind, count(l.id) AS lines
FROM orders_{n} AS o
JOIN order_lines AS l ON l.order_id = o.id
LEFT JOIN attribute_kinds_{n} AS k ON k.name = o.attribute_{n}
WHERE o.placed_on > now() - interval '{n} days'
GROUP BY o.id, o.placed_on, k.name;
ALTER TABLE orders_{n} ADD CONSTRAINT counted_{n}_positive CHECK (counted_{n} >= 0) NOT VALID;
"""


def timed(command: list) -> float:
    """Run a command and return its seconds; findings are no failure of it."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def speed(scale: str, turns: int) -> dict:
    """Return seconds by tool: the median of the rounds, in each of which every tool has its turn."""
    count = SCALES[scale]
    seconds: dict[str, list] = {"sqlfluff parse": [], ALONE: [], "everup, cold": [], "everup, warm": [], "squawk": []}
    with tempfile.TemporaryDirectory() as folder:
        scripts = Path(folder) / "migrations" / "expand"
        scripts.mkdir(parents=True)
        for number in range(1, count + 1):
            (scripts / f"{number:04d}_orders.sql").write_text(SCRIPT.format(n=number), encoding="utf-8")
        for turn in range(turns):
            parse = [BIN / "sqlfluff", "parse", "--dialect", "postgres", "--templater", "raw", "--format", "none"]
            seconds["sqlfluff parse"].append(timed([*parse, scripts]))
            ours = [sys.executable, "-c", CLI, "--engine", "postgresql", scripts.parent, "--cache"]
            seconds[ALONE].append(timed([*ours, f"{folder}/alone-{turn}", "--processes", "1"]))
            ours.append(f"{folder}/cache-{turn}")
            seconds["everup, cold"].append(timed(ours))
            seconds["everup, warm"].append(timed(ours))
            seconds["squawk"].append(timed([BIN / "squawk", *sorted(scripts.iterdir())]))
    return {tool: statistics.median(rounds) for tool, rounds in seconds.items()}


def cases() -> list[tuple[str, str, dict]]:
    """Return (squawk's rule, bad or good, case) for each statement of the corpus that stands for a rule of squawk's."""
    found = []
    for path in sorted(CORPUS.glob("*.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            if entry.get("peer", "").startswith("squawk:"):
                for outcome, kind in (("fires", "bad"), ("silent", "good")):
                    for case in entry.get(outcome, []):
                        found.append((entry["peer"], kind, {"sql": case} if isinstance(case, str) else case))
    return found


def squawk_rules(case: dict) -> Counter:
    """Return how often squawk names which rule about a statement."""
    command = [BIN / "squawk", "--reporter", "json", "--pg-version", str(case.get("version", "15"))]
    command += ["--assume-in-transaction"] if case.get("transaction", True) else []
    done = subprocess.run(command, input=case["sql"], capture_output=True, text=True, check=False)
    return Counter(finding["rule_name"] for finding in json.loads(done.stdout or "[]"))


def our_rules(case: dict, parser: Parser) -> Counter:
    """Return how often we name which rule about a statement, notices under a name of their own."""
    version = tuple(int(part) for part in str(case.get("version", "15")).split("."))
    found = lint_sql(
        case["sql"],
        Target(POSTGRESQL, version),
        phase=case.get("phase", "expand"),
        transaction=case.get("transaction", True),
        before=case.get("before", ""),
        parser=parser,
    )
    return Counter(f"{finding.rule} (notice)" if finding.severity == NOTICE else finding.rule for finding in found)


def findings() -> dict:
    """Return what each linter finds of the corpus."""
    parser = Parser(POSTGRESQL)
    fired = found = left_out = 0
    missed: list[str] = []
    false_alarms = {"everup": 0, "squawk": 0}
    alarmed = {"everup": Counter(), "squawk": Counter()}
    good = without_timeouts = 0
    for peer, kind, case in cases():
        theirs, ours = squawk_rules(case), our_rules(case, parser)
        if kind == "good":
            good += 1
            warned = Counter({name: count for name, count in ours.items() if not name.endswith("(notice)")})
            for tool, rules in (("everup", warned), ("squawk", theirs)):
                false_alarms[tool] += bool(rules)
                alarmed[tool] += rules
            without_timeouts += bool(set(theirs) - TIMEOUTS)
        elif peer.partition(":")[2] in theirs:
            if peer in LEFT_OUT:
                left_out += 1
                continue
            fired += 1
            is_found = any(name.removesuffix(" (notice)") in covered_by(peer) for name in ours)
            found += is_found
            missed += [] if is_found else [f"{peer}: {case['sql']}"]
    return {
        "fired": fired,
        "found": found,
        "left_out": left_out,
        "missed": missed,
        "good": good,
        "false_alarms": false_alarms,
        "alarmed": alarmed,
        "without_timeouts": without_timeouts,
    }


def main() -> None:
    """Print a table and the JSON line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--scale", choices=list(SCALES), default="full")
    arguments.add_argument("--rounds", type=int, help="in place of 3, or of 1 with the small scale")
    options = arguments.parse_args()
    scale = options.scale
    seconds, count = speed(scale, options.rounds or ROUNDS[scale]), SCALES[scale]
    print(f"{count} scripts, {os.cpu_count()} processors\n")
    print("| | seconds | scripts a second |\n|---|---|---|")
    for tool, taken in seconds.items():
        print(f"| {tool} | {taken:.2f} | {count / taken:,.0f} |")
    corpus = findings()
    print(f"\nOf {corpus['fired']} bad statements that squawk names the rule of, everup finds {corpus['found']}", end="")
    print(f"; {corpus['left_out']} more are about rules that docs/rules.md leaves out with a reason.")
    print(*corpus["missed"], sep="\n")
    for tool, alarms in corpus["false_alarms"].items():
        print(f"{tool} warns about {alarms} of {corpus['good']} good statements: {dict(corpus['alarmed'][tool].most_common(12))}")
    print(f"squawk without its two rules about time-outs, which our runner sets: {corpus['without_timeouts']}")
    print(
        json.dumps(
            {
                "cold_vs_plain_parse": round(seconds[ALONE] / seconds["sqlfluff parse"], 2),
                "warm_500_s": round(seconds["everup, warm"], 2) if count == SCALES["full"] else None,
                "files_per_second": {tool: round(count / taken) for tool, taken in seconds.items()},
                "recall_vs_squawk": round(corpus["found"] / corpus["fired"], 3),
                "false_alarms": {**corpus["false_alarms"], "squawk without time-outs": corpus["without_timeouts"]},
            }
        )
    )


if __name__ == "__main__":
    main()
