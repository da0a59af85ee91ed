# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin: call the backfill module slice by slice, and show how far it has come after each."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible_collections.everup.deploy.plugins.module_utils._db.script import parse_duration

MODULE = "everup.deploy.backfill"


class ActionModule(ActionBase):
    """Lets the module work in slices, so that an hour of work is seen in a terminal and in AWX, and can be stopped."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's last result, with ``changed`` and the diff of all slices."""
        super().run(tmp, task_vars)
        del tmp
        args = self._task.args.copy()
        try:
            deadline = time.monotonic() + parse_duration(args["time_budget"]) if args.get("time_budget") else None
            longest = parse_duration(args.get("slice") or "10s")
        except ValueError as error:
            return {"failed": True, "msg": f"time_budget or slice: {error}"}
        changed, diff = False, {}
        while True:
            if deadline is not None:
                args["slice"] = f"{max(0.0, min(longest, deadline - time.monotonic())):.3f}s"
            result = self._execute_module(module_name=MODULE, module_args=args.copy(), task_vars=task_vars)
            changed = changed or bool(result.get("changed"))
            diff.update((shown["after_header"], shown) for shown in result.get("diff") or [])
            over = self._task.check_mode or result.get("failed") or result.get("unreachable") or result.get("finished")
            facts = result.get("backfill") or {}
            if facts.get("progress") and not self._task.check_mode and not self._task.no_log:
                self._display.display(facts["progress"])
            if over or (deadline is not None and time.monotonic() >= deadline):
                result["changed"] = changed
                if "diff" in result:
                    result["diff"] = list(diff.values())
                return result
