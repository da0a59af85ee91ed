# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and evaluates the JMESPath expressions of health checks, on the control node: hosts need no jmespath."""

from __future__ import annotations

import json
from typing import Optional

from ..module_utils._app.health import BODY_LIMIT, shown

try:
    import jmespath
    from jmespath.exceptions import ArityError, JMESPathError, ParseError, UnknownFunctionError
except ImportError:
    jmespath = None


class BadConditionError(Exception):
    """An expression can never be evaluated."""


def compiled(option: str, text: str):
    """Return a compiled expression.

    Parameters:
        option: how whoever wrote it calls it, for the error.

    Raises:
        BadConditionError: it is no JMESPath, or the control node cannot read any.
    """
    if jmespath is None:
        raise BadConditionError(
            f"The {option} needs the Python library jmespath on the control node. Install it beside ansible-core."
        )
    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        raise BadConditionError(unusable(option, text, error)) from error


def unusable(option: str, text: str, why: object) -> str:
    """Return the sentence about an expression that can never be evaluated."""
    return f"The {option} {text!r} is no usable JMESPath expression: {why}"


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
