# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evaluates the condition of health_check on the control node, so that hosts need no jmespath."""

from __future__ import annotations

import json
import time

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


class ActionModule(ActionBase):
    """Lets the module wait on the host and has the last word on what it found."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result once the condition is true of enough responses in a row, or its failure."""
        result = super().run(tmp, task_vars)
        del tmp
        args = self._task.args.copy()
        condition = args.get("condition")
        if "_progress" in args:
            return {**result, "failed": True, "msg": "Unsupported parameter for health_check: _progress."}
        if not condition:
            return self._wait(args, task_vars)
        if jmespath is None:
            message = "health_check needs the Python library jmespath on the control node to evaluate its condition."
            return {**result, "failed": True, "msg": f"{message} Install it beside ansible-core."}
        try:
            expression = jmespath.compile(str(condition))
            return self._wait_for_condition(args, expression, task_vars)
        except (BadConditionError, JMESPathError) as error:
            return {**result, "failed": True, "msg": f"The condition {condition!r} is no usable JMESPath expression: {error}"}

    def _wait(self, args: dict, task_vars: dict) -> dict:
        return self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)

    def _wait_for_condition(self, args: dict, expression, task_vars: dict) -> dict:
        """Call the module until every response it takes for good is so by the condition, or its time is up."""
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
                progress["verdicts"][digest], why = evaluate(expression, body)
                reason = why or reason
            streak = private["_streak"]
            for digest in private["_window"]:
                streak = streak + 1 if progress["verdicts"][digest] else 0
            if streak == private["_streak"] + len(private["_window"]):
                return result
            progress.update(
                streak=streak,
                polls=result["polls"],
                spent=time.monotonic() - start,
                last={"status": result["status"], "body": result["body"]},
            )


def evaluate(expression, body: str) -> tuple[bool, str]:
    """Return whether a compiled condition is true of a body, and if not, why.

    Raises:
        BadConditionError: it can be true of no body at all.
    """
    try:
        value = expression.search(json.loads(body))
    except (UnknownFunctionError, ArityError, ParseError) as error:
        raise BadConditionError(f"{error}. The last body was: {shown(body)}") from error
    except JMESPathError as error:
        return False, f"the condition cannot be evaluated: {error}"
    except ValueError:
        large = len(body.encode("utf-8", "replace")) >= BODY_LIMIT
        return False, f"the condition cannot be evaluated: the body is {'too large' if large else 'no JSON'}"
    # What JMESPath itself takes for false.
    true = value is not None and value is not False and value not in ("", [], {})
    return true, "" if true else f"the condition is {json.dumps(value)}"
