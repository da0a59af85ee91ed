# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin: bring the archive to the host for as long as the module needs it."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

MODULE = "everup.deploy.app_archive"


class ActionModule(ActionBase):
    """Copies an archive of the control node into the task's temporary folder on the host, which is removed with it.

    TRANSFERS_FILES would have the folder made, and removed, where there is nothing to copy as well: three calls to a host.
    """

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result = super().run(tmp, task_vars)
        del tmp
        args = self._task.args.copy()
        try:
            if args.get("src") and not self._task.check_mode and not boolean(args.get("remote_src", False), strict=False):
                args["src"] = self._transferred(args["src"])
            return {**result, **self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _transferred(self, src: str) -> str:
        """Return the path on the host that a file of the control node was copied to.

        Raises:
            AnsibleError: there is no such file, or it cannot be copied.
            AnsibleConnectionFailure: the host cannot be reached, which Ansible tells apart from a failure.
        """
        source = self._loader.get_real_file(self._find_needle("files", src))
        folder = self._make_tmp_path() if self._connection._shell.tmpdir is None else self._connection._shell.tmpdir
        target = self._connection._shell.join_path(folder, Path(source).name)
        self._transfer_file(source, target)
        # Nobody executes it: without that there is one call less to a host, wherever its user need not change.
        self._fixup_perms2((folder, target), execute=False)
        return target
