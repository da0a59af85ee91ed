# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges condition and version of health_check on the control node, so that hosts need no jmespath."""

from __future__ import annotations

import time
from typing import NamedTuple, Optional

from ansible.plugins.action import ActionBase
from ansible_collections.everup.deploy.plugins.plugin_utils.conditions import BadConditionError, compiled, evaluate, unusable

MODULE = "everup.deploy.health_check"
_PRIVATE = ("_streak", "_window", "_bodies")


class Judge(NamedTuple):
    """One question that the control node answers of a body: by which option, and the version that must come out, if any."""

    option: str
    text: str
    expression: object
    version: Optional[str] = None


class ActionModule(ActionBase):
    """Lets the module wait on the host and has the last word on what it found."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result once all judges are content with enough responses in a row, or its failure."""
        result = super().run(tmp, task_vars)
        del tmp
        args = self._task.args.copy()
        questions = _questions(args)
        if "_progress" in args:
            return {**result, "failed": True, "msg": "Unsupported parameter for health_check: _progress."}
        if not questions:
            return self._wait(args, task_vars)
        try:
            judges = [Judge(option, text, compiled(option, text), version) for option, text, version in questions]
            found = self._wait_for_verdict(args, judges, task_vars)
        except BadConditionError as error:
            return {**result, "failed": True, "msg": str(error)}
        if args.get("warm_up") and not (found.get("failed") or found.get("unreachable")):
            found.update(self._wait({**args, "_progress": {"healthy": True}}, task_vars))
        return found

    def _wait(self, args: dict, task_vars: dict) -> dict:
        return self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)

    def _wait_for_verdict(self, args: dict, judges: list, task_vars: dict) -> dict:
        """Call the module until every response it takes for good is so by all judges, or its time is up."""
        start = time.monotonic()
        progress = {"spent": 0.0, "polls": 0, "streak": 0, "verdicts": {}}
        reason = ""
        while True:
            result = self._wait({**args, "_progress": progress}, task_vars)
            private = {name: result.pop(name, None) for name in _PRIVATE}
            if result.get("failed") or result.get("unreachable") or private["_window"] is None:
                if reason and result.get("body") is not None and "elapsed" in result:
                    result["msg"] = f"{result['msg']} On the last body that was evaluated, {reason}."
                return result
            for digest, body in private["_bodies"].items():
                progress["verdicts"][digest], why = _verdict(judges, body)
                reason = why or reason
            streak = private["_streak"]
            for digest in private["_window"]:
                streak = streak + 1 if progress["verdicts"][digest] else 0
            if streak == private["_streak"] + len(private["_window"]):
                said = [judge.version for judge in judges if judge.version is not None]
                return {**result, "version": said[0]} if said else result
            progress.update(
                streak=streak,
                polls=result["polls"],
                spent=time.monotonic() - start,
                last={"status": result["status"], "body": result["body"]},
            )


def _questions(args: dict) -> list[tuple]:
    """Return option, expression and version of each judge that a task asks for."""
    condition, version = (str(args[name]) if args.get(name) is not None else "" for name in ("condition", "version"))
    asked = [("condition", condition, None)] if condition else []
    return asked + ([("version_path", str(args.get("version_path") or "version"), version)] if version else [])


def _verdict(judges: list[Judge], body: str) -> tuple[bool, str]:
    """Return whether every judge takes a body for good, and if not, why the first did not."""
    for judge in judges:
        try:
            good, why = evaluate(judge.expression, body, judge.version)
        except BadConditionError as error:
            raise BadConditionError(unusable(judge.option, judge.text, error)) from error
        if not good:
            return False, why
    return True, ""
