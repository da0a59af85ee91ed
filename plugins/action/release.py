# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin: tell the release module which controller process asks, and whether a dead one holds the lease."""

from __future__ import annotations

import multiprocessing
import os

from ansible_collections.everup.deploy.plugins.module_utils._release.commands import run_release
from ansible_collections.everup.deploy.plugins.module_utils._release.process import identity, is_dead
from ansible_collections.everup.deploy.plugins.modules.release import ARGUMENT_SPEC
from ansible_collections.everup.deploy.plugins.plugin_utils.ledger_action import LedgerAction


class ActionModule(LedgerAction):
    """Runs the module of the same name with the identity of this ansible-playbook process.

    Only the controller can see whether the process that holds the lease is still alive; where it is dead, the module runs
    once more with that said, so that a killed run is continued without waiting for the lease to expire.
    """

    MODULE = "everup.deploy.release"
    ARGUMENT_SPEC = ARGUMENT_SPEC
    COMMAND = staticmethod(run_release)

    def perform(self, args: dict, task_vars: dict) -> dict:
        """Run the module, and once more where a dead process holds the lease."""
        controller = _controller()
        if controller is None:
            return {"failed": True, "msg": "The ansible-playbook process is gone, so nothing is done on its behalf."}
        arguments = {**args, "process": controller}
        result = super().perform(arguments, task_vars)
        holder = (result.get("lease") or {}) if result.get("failed") else {}
        if holder and is_dead(holder["holder_process"]):
            arguments["dead_token"] = holder["token"]
            result = super().perform(arguments, task_vars)
        return result


def _controller() -> dict | None:
    """Return the identity of the ansible-playbook process, None when it has died and left this worker behind.

    A worker outlives a killed controller until its task ends, adopted by another process: a lease that it took then would
    belong to nobody who could ever give it back.
    """
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent else os.getppid()
    if os.getppid() != pid:
        return None
    found = identity(pid)
    return None if "boot" in found and found["start"] is None else found
