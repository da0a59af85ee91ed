# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for every task of the roles and playbooks, whatever they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
# Keys whose text Ansible takes for an expression as it stands.
EXPRESSIONS = ("when", "that", "until", "failed_when", "changed_when")
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def typed(role: Path, *types: str) -> dict[str, str]:
    """Return the type of each documented variable of a role that has one of these types."""
    file = role / "meta" / "argument_specs.yml"
    specs = yaml.safe_load(file.read_text())["argument_specs"] if file.is_file() else {}
    options = {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}
    return {name: option["type"] for name, option in options.items() if option.get("type") in types}


def texts(node, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a YAML document with the key that it stands under."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, key)
    elif isinstance(node, str):
        yield key, node


def expressions(key: str, text: str) -> list[str]:
    """Return the expressions in a text: all of it under ``when`` and its like, else what stands in double braces."""
    return [text] if key in EXPRESSIONS and "{{" not in text else _TEMPLATE.findall(text)


def uncast(expression: str, variables: dict[str, str]) -> list[str]:
    """Return the variables that an expression uses as they came; one that is all of it is handed on, for others to convert."""
    used = [name for name in variables if re.search(rf"\b{name}\b(?!\s*\|\s*(bool|int|float)\b)", expression)]
    return [name for name in used if expression.strip() != name]


def test_an_uncast_variable_is_found():
    known = {"count": "int", "sure": "bool"}
    assert uncast(" count | int > 1 and sure | bool ", known) == []
    assert uncast("count > 1", known) == ["count"]
    assert uncast("not sure", known) == ["sure"]
    assert uncast(" count ", known) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_bool_or_number_may_come_as_a_string(role):
    """As from ``-e name=value`` or a survey of AWX, of which "false" is true, and "3" more than any number or an error."""
    variables = typed(role, "bool", "int", "float")
    found = []
    for file in [*sorted(role.glob("tasks/**/*.yml")), *sorted(role.glob("vars/*.yml")), *sorted(role.glob("defaults/*.yml"))]:
        for key, text in texts(yaml.safe_load(file.read_text())):
            bare = key in EXPRESSIONS and text.strip() in variables
            names = [text.strip()] if bare else [name for one in expressions(key, text) for name in uncast(one, variables)]
            found += [f"{file.relative_to(ROOT)}: {name} in {text}" for name in names]
    assert found == []


FILES = sorted([*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("examples/shop/*.yml")])


def tasks(node, rescue: list | None = None) -> Iterator[tuple[dict, list | None]]:
    """Yield every play, block and task of a YAML document with the rescue that it stands under."""
    if isinstance(node, list):
        for part in node:
            yield from tasks(part, rescue)
    elif isinstance(node, dict):
        yield node, rescue
        yield from tasks(node.get("block"), node.get("rescue", rescue))
        for key in ("rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(node.get(key), rescue)


def found_in_all(is_wrong) -> list[str]:
    """Return where a play, block or task is wrong."""
    wrong = []
    for file in FILES:
        for task, rescue in tasks(yaml.safe_load(file.read_text())):
            if is_wrong(file, task, rescue):
                wrong.append(f"{file.relative_to(ROOT)}: {task.get('name')}")
    return wrong


def test_the_files_are_read():
    assert len(FILES) > 50
    assert len(found_in_all(lambda _file, task, _rescue: "run_once" in task)) > 3


def test_nothing_is_left_to_handlers():
    """A host that fails loses those that were notified, and a restart with them."""
    assert found_in_all(lambda _file, task, _rescue: "notify" in task or "handlers" in task) == []
    assert not list(ROOT.glob("roles/*/handlers"))


def test_no_safety_is_sought_in_how_ansible_counts_failures():
    """It does not count unreachable hosts, and a rescue hides the others from it."""
    assert found_in_all(lambda _file, task, _rescue: "any_errors_fatal" in task or "max_fail_percentage" in task) == []


def test_what_runs_once_for_a_batch_cannot_fail_it():
    """When it fails in a block, only one host comes to the rescue, and the others are gone: it is ignored, or the play ends."""

    def fails_the_batch(file: Path, task: dict, rescue: list | None) -> bool:
        if not task.get("run_once") or "rolling_upgrade" not in file.parts:
            return False
        ends = any(part.get("ansible.builtin.meta") == "end_play" for part in rescue or [])
        return not ends and not (task.get("ignore_errors") and task.get("ignore_unreachable"))

    assert found_in_all(fails_the_batch) == []


def test_what_is_delegated_says_whose_rights_it_has():
    """Else become is that of the host that the task is for.

    Nobody is to be become on the runner, to whom database and lease belong. A balancer's rights stand in its own variables.
    """

    def borrows_rights(_file: Path, task: dict, _rescue: list | None) -> bool:
        target = str(task.get("delegate_to", ""))
        is_own = "rolling_upgrade_balancer" in target
        return bool(target) and (("become" in task) if is_own else task.get("become") is not False)

    assert found_in_all(borrows_rights) == []


WAITING = ("command", "systemd_service", "apt", "dnf", "git", "app_archive", "win_copy", "win_powershell")


def test_no_host_is_waited_for_without_a_bound():
    """Of what takes as long as a host or a network likes, also where it only asks; what has a bound of its own is left out."""

    def waits_for_ever(file: Path, task: dict, _rescue: list | None) -> bool:
        if "strategies" not in file.parts or "timeout" in task:
            return False
        return any(name.rpartition(".")[2] in WAITING for name in task)

    assert found_in_all(waits_for_ever) == []


def test_the_teams_own_tasks_have_a_bound():
    def has_none(_file: Path, task: dict, _rescue: list | None) -> bool:
        included = task.get("ansible.builtin.include_tasks")
        name = included["file"] if isinstance(included, dict) else str(included)
        is_theirs = re.search(r"rolling_upgrade_(hooks|smoke|custom)", name)
        return bool(is_theirs) and "timeout" not in (included.get("apply", {}) if isinstance(included, dict) else {})

    assert found_in_all(has_none) == []
