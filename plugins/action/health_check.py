# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges condition and version of health_check on the control node, so that hosts need no jmespath."""

from __future__ import annotations

import json
import time
from typing import NamedTuple, Optional

from ansible.plugins.action import ActionBase
from ansible_collections.everup.deploy.plugins.module_utils._app.health import BODY_LIMIT, shown

try:
    import jmespath
    from jmespath.exceptions import ArityError, JMESPathError, ParseError, UnknownFunctionError
except ImportError:
    jmespath = None

MODULE = "everup.deploy.health_check"
_PRIVATE = ("_streak", "_window", "_bodies")


class BadConditionError(Exception):
    """The condition can never be evaluated."""


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
        if jmespath is None:
            message = "health_check needs the Python library jmespath on the control node to judge a condition or a version."
            return {**result, "failed": True, "msg": f"{message} Install it beside ansible-core."}
        try:
            judges = [_judge(*question) for question in questions]
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


def _judge(option: str, text: str, version: Optional[str]) -> Judge:
    try:
        return Judge(option, text, jmespath.compile(text), version)
    except JMESPathError as error:
        raise BadConditionError(_unusable(option, text, error)) from error


def _unusable(option: str, text: str, why) -> str:
    return f"The {option} {text!r} is no usable JMESPath expression: {why}"


def _verdict(judges: list[Judge], body: str) -> tuple[bool, str]:
    """Return whether every judge takes a body for good, and if not, why the first did not."""
    for judge in judges:
        try:
            good, why = evaluate(judge.expression, body, judge.version)
        except BadConditionError as error:
            raise BadConditionError(_unusable(judge.option, judge.text, error)) from error
        if not good:
            return False, why
    return True, ""


def evaluate(expression, body: str, version: Optional[str] = None) -> tuple[bool, str]:
    """Return whether a compiled condition is true of a body, or gives a version where there is one, and if not, why.

    Raises:
        BadConditionError: it can be true of no body at all.
    """
    what = "condition" if version is None else "version"
    try:
        value = expression.search(json.loads(body))
    except (UnknownFunctionError, ArityError, ParseError) as error:
        raise BadConditionError(f"{error}. The last body was: {shown(body)}") from error
    except JMESPathError as error:
        return False, f"the {what} cannot be evaluated: {error}"
    except ValueError:
        large = len(body.encode("utf-8", "replace")) >= BODY_LIMIT
        return False, f"the {what} cannot be evaluated: the body is {'too large' if large else 'no JSON'}"
    if version is not None:
        said = value if isinstance(value, str) else json.dumps(value)
        good = value is not None and said == version
        return good, "" if good else f"the version is {shown(said)}"
    # What JMESPath itself takes for false.
    true = value is not None and value is not False and value not in ("", [], {})
    return true, "" if true else f"the condition is {json.dumps(value)}"
