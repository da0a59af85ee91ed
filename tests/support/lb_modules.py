# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules of balancers, called in this process with the options that a rig needs."""

from __future__ import annotations

import os
import signal
import time

from ansible_collections.everup.deploy.plugins.module_utils._lb import providers
from ansible_collections.everup.deploy.plugins.modules import lb_member, lb_member_info
from ansible_collections.everup.deploy.tests.support.members import Request


def eventually(true, timeout: float = 5.0) -> None:
    """Wait until true() is; fail when it never is."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.01)


class Modules:
    """The modules, called with the options that a provider's rigs need."""

    Request = Request
    eventually = staticmethod(eventually)

    def __init__(self, rig_class) -> None:
        self.rig_class = rig_class

    def task_options(self, rig) -> dict:
        """The options of a task that reaches one rig."""
        return {"provider": self.rig_class.provider, "address": [rig.address], **self.rig_class.options}

    def _params(self, module, rigs, options: dict) -> dict:
        rigs = rigs if isinstance(rigs, list) else [rigs]
        addresses = [rig if isinstance(rig, str) else rig.address for rig in rigs]
        defaults = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
        usual = {"provider": self.rig_class.provider, "address": addresses, "interval": 0.02, "timeout": 5}
        given = {**usual, **self.rig_class.options, **options}
        return {**defaults, **{name: value for name, value in given.items() if name in defaults}}

    def move(self, rigs, state: str, pool: str = "shop", member: str = "web1", check_mode: bool = False, **options) -> dict:
        """Run lb_member on one rig, or several, or addresses."""
        options = {"pool": pool, "member": member, "state": state, **options}
        return lb_member.run(self._params(lb_member, rigs, options), check_mode)

    def info(self, rigs, **options) -> dict:
        """Run lb_member_info."""
        return lb_member_info.run(self._params(lb_member_info, rigs, options), False)

    def facts(self, rig, pool: str = "shop", member: str = "web1", **options) -> dict:
        """What lb_member_info says of one member on one rig."""
        (found,) = self.info(rig, pool=pool, member=member, **options)["members"]
        return found

    def served(self, rig, apps) -> list[bool]:
        """Say which members of pool ``shop`` get requests."""
        before = [app.served for app in apps.values()]
        for _number in range(10):
            request = Request(rig.port("shop"), "/")
            request.join(5)
            assert request.status == 200
        return [app.served > count for app, count in zip(apps.values(), before)]

    def killed_at_the_rename(self, provider, rig, state: str, renamed: bool) -> None:
        """Move web1 in a process that is killed right before or after it renames the balancer's file."""
        real = provider.replace_text

        def kill(path, text):
            if renamed:
                real(path, text)
            os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            provider.replace_text = kill
            try:
                self.move(rig, state, wait=False)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    def balancer(self, rig, **options):
        """The provider's own object behind the module."""
        (one,) = providers.connect(self._params(lb_member, rig, options))
        return one
