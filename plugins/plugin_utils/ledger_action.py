# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module of the ledger in the task's own process, where that is the same as in a process of its own.

A release writes the ledger four times a host. To pack a module, start a Python for it and import everything again takes
ten times as long as what it then does.
"""

from __future__ import annotations

import json
import os
import sys

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils._module import outcome


class LedgerAction(ActionBase):
    """The action of one module.

    Attributes:
        MODULE: its full name.
        ARGUMENT_SPEC, COMMAND: its argument spec, and the function behind it.
    """

    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True
    MODULE = ""
    ARGUMENT_SPEC: dict = {}  # noqa: RUF012 - a constant
    COMMAND = staticmethod(lambda params, check_mode: {})

    def run(self, tmp=None, task_vars=None):
        """Return the module's result; see ansible.plugins.action.ActionBase."""
        super().run(tmp, task_vars)
        return self.perform(self._task.args, task_vars)

    def perform(self, args: dict, task_vars: dict) -> dict:
        """Return the module's result with these arguments."""
        params = self._params(args) if self._is_here(task_vars) else None
        if params is None:
            wrap = self._task.async_val
            return self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars, wrap_async=wrap)
        # Where a relative path of the database begins for a module on this connection.
        os.chdir(self._loader.get_basedir())
        result = outcome(self.ARGUMENT_SPEC, self.COMMAND, params, self._task.check_mode)
        for warning in result.pop("warnings", []):
            self._display.warning(warning)
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def _is_here(self, task_vars: dict) -> bool:
        """Return whether a module would run on this machine, as this user, with this Python and in this environment."""
        host = task_vars["ansible_delegated_vars"][self._task.delegate_to] if self._task.delegate_to else task_vars
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.async_val
            and not any(self._task.environment or [])
            and self._templar.template(host.get("ansible_python_interpreter")) == sys.executable
        )

    def _params(self, args: dict) -> dict | None:
        """Return the parameters as plain values; None where the spec does not want them, which the module itself says best."""
        plain = json.loads(json.dumps(args, default=str))
        checked = ArgumentSpecValidator(self.ARGUMENT_SPEC).validate(plain)
        return None if checked.error_messages else checked.validated_parameters
