# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin: keep what a probe has measured, without a process of its own where none is needed."""

from __future__ import annotations

from ansible_collections.everup.deploy.plugins.module_utils._release.commands import record_availability
from ansible_collections.everup.deploy.plugins.modules.availability_record import ARGUMENT_SPEC
from ansible_collections.everup.deploy.plugins.plugin_utils.ledger_action import LedgerAction


class ActionModule(LedgerAction):
    """Runs the module of the same name."""

    MODULE = "everup.deploy.availability_record"
    ARGUMENT_SPEC = ARGUMENT_SPEC
    COMMAND = staticmethod(record_availability)
