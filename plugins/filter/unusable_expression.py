# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of the preflight: what is wrong with an expression of the health check."""

from __future__ import annotations

from ansible_collections.everup.deploy.plugins.plugin_utils.conditions import BadConditionError, compiled


def unusable_expression(text: str, option: str) -> str:
    """Return why an expression cannot be used, empty for one that can and for none at all.

    Parameters:
        text: the expression, JMESPath.
        option: the setting that has it.
    """
    try:
        if text:
            compiled(option, str(text))
    except BadConditionError as error:
        return str(error)
    return ""


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict:
        """Return the filter by name."""
        return {"unusable_expression": unusable_expression}
