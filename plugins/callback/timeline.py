# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Callback plugin: where each host of a roll-out is, as one live table, as plain lines, and as a file of events."""

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: notification
short_description: Show where each host of a roll-out is
version_added: 0.2.0
author: everup.deploy contributors (@everup)
description:
  - In a terminal it keeps one table below whatever else is printed - a bar for each web group, and for each host its batch, its
    state, since when, and what is done to it.
  - Elsewhere, as in AWX or CI, it prints one line whenever a host comes to another state. AWX gives its jobs a terminal, so there
    it is told by the environment (C(CI), C(JOB_ID), C(AWX_...), C(RUNNER_...)).
  - With O(file) every change is also written to a file, one JSON object a line, as it happens.
  - It never ends a run. Where it can no longer print it is silent, and a file that cannot be written is a warning.
requirements:
  - To be enabled by name in C(callbacks_enabled), beside any stdout callback.
options:
  mode:
    description:
      - V(live) is the table, V(plain) the lines. V(auto) is V(live) in a terminal that a person looks at, and V(plain) elsewhere.
    type: str
    choices: [auto, live, plain]
    default: auto
    env:
      - name: EVERUP_TIMELINE_MODE
    ini:
      - section: callback_timeline
        key: mode
  file:
    description:
      - Path of the file of events. A file that is there is added to.
      - Each line has C(at) (UTC), C(host), C(group), C(batch), C(state) and C(reason); the plan is a line with C(batches).
    type: path
    env:
      - name: EVERUP_TIMELINE_FILE
    ini:
      - section: callback_timeline
        key: file
"""

import functools
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone

from ansible.plugins.callback import CallbackBase
from ansible_collections.everup.deploy.plugins.plugin_utils.timeline import UNREACHABLE, Timeline

_MEMBER = "everup.deploy.release_member"
# Of an environment where nobody looks at the terminal: CI services, and AWX with ansible-runner, which gives its jobs one.
_UNATTENDED = ("CI", "JOB_ID", "GITHUB_ACTIONS", "GITLAB_CI", "BUILD_NUMBER", "TF_BUILD")
_UNATTENDED_BEGINNINGS = ("AWX_", "TOWER_", "RUNNER_")
_SPARE_LINES = 6  # of a terminal, for what others print
_SETTING = "'file' of [callback_timeline], or EVERUP_TIMELINE_FILE"


def _harmless(hook):
    """Return a method that raises nothing: whatever a callback raises ends the whole run."""

    @functools.wraps(hook)
    def kept(self, *args, **kwargs) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self._warn_of_bug(hook.__name__, error)

    return kept


class CallbackModule(CallbackBase):
    """Reads the plan from the roll-out's own facts, and each host's state from what is recorded in the ledger."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "everup.deploy.timeline"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display=None, options=None) -> None:
        super().__init__(display=display, options=options)
        self._timeline = Timeline()
        self._drawn = 0
        self._live = False
        self._file = None
        self._process = os.getpid()
        self._print = None
        self._is_mute = False  # once nobody takes what is printed
        self._is_warned = False

    def set_options(self, task_keys=None, var_options=None, direct=None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        mode, path = self.get_option("mode"), self.get_option("file")
        self._live = mode == "live" or (mode == "auto" and sys.stdout.isatty() and _is_watched(os.environ))
        if path:
            try:
                self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as Ansible runs
            except (OSError, ValueError) as error:
                self._give_up_file(path, error)
        if self._live and self._print is None:
            self._print = self._display.display
            self._display.display = self._around

    def _around(self, *args, **kwargs):
        """Print what anybody prints above the table; a forked worker only hands it on."""
        if os.getpid() != self._process:
            return self._print(*args, **kwargs)
        self._erase()
        try:
            return self._print(*args, **kwargs)
        finally:
            self._draw()

    @_harmless
    def v2_runner_on_start(self, host, task) -> None:
        if self._timeline.task(host.get_name(), task.get_name().strip().rpartition(" : ")[2]):
            self._redraw()

    @_harmless
    def v2_runner_on_ok(self, result) -> None:
        facts = result._result.get("ansible_facts") or {}
        plan = facts.get("rolling_upgrade_plan")
        if not self._timeline.hosts:  # else hosts of the roll-out go back, and it is followed to its end
            plan = plan or facts.get("rollback_plan")
        if plan and plan.get("batches"):
            self._timeline.plan(plan["batches"], time.monotonic())
            self._write({"batches": plan["batches"]})
            self._redraw()
        if result._task.action == _MEMBER and "member" in result._result:
            row = result._result["member"]
            self._moved(row["host"], row["state"], row.get("reason") or "")

    @_harmless
    def v2_runner_on_unreachable(self, result) -> None:
        if not result._task.ignore_unreachable:
            self._moved(result._host.get_name(), UNREACHABLE, str(result._result.get("msg", "")).strip())

    @_harmless
    def v2_playbook_on_stats(self, stats) -> None:
        self._erase()
        if self._live:
            self._display.display = self._print
        for line in self._timeline.bars(80):
            self._say(line)
        if self._file:
            self._file.close()  # each line has been written at once: nothing is left that could fail
            self._file = None

    def _moved(self, name: str, state: str, reason: str) -> None:
        if not self._timeline.move(name, state, time.monotonic(), reason):
            return
        host = self._timeline.hosts[name]
        self._write({"host": name, "group": host.group, "batch": host.batch, "state": state, "reason": reason})
        if self._live:
            self._redraw()
        else:
            self._say(f"timeline: {name} (batch {host.batch}) is {state}" + (f": {reason}" if reason else ""))

    def _write(self, event: dict) -> None:
        if not self._file:
            return
        try:
            at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._file.write(json.dumps({"at": at, **event}) + "\n")
        except OSError as error:
            file, self._file = self._file, None
            with suppress(OSError):  # it tries once more to write what it has
                file.close()
            self._give_up_file(file.name, error)

    def _give_up_file(self, path: str, error: Exception) -> None:
        said = getattr(error, "strerror", None) or error
        self._warn(f"timeline: the file of events {path} ({_SETTING}) cannot be written: {said}. The run goes on without it.")

    def _warn_of_bug(self, hook: str, error: Exception) -> None:
        if not self._is_warned:
            self._is_warned = True
            self._warn(
                f"timeline: {hook} failed ({type(error).__name__}: {error}). The run goes on, but what the timeline shows may be "
                "wrong. This is a bug in everup.deploy."
            )

    def _warn(self, text: str) -> None:
        with suppress(Exception):
            self._display.warning(text)

    def _say(self, line: str) -> None:
        self._shown(lambda: self._display.display(line))

    def _put(self, text: str) -> None:
        self._shown(lambda: (sys.stdout.write(text), sys.stdout.flush()))

    def _shown(self, show) -> None:
        """Show something; once that has failed, as with a pipe that nobody reads any more, nothing is shown again."""
        if self._is_mute:
            return
        try:
            show()
        except (OSError, ValueError):  # a ValueError of a stream that is closed, or cannot write a letter
            self._is_mute = True

    def _redraw(self) -> None:
        if self._live:
            self._erase()
            self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._put(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    @_harmless
    def _draw(self) -> None:
        if self._is_mute or not self._timeline.hosts:
            return
        size = shutil.get_terminal_size()
        height = max(3, size.lines - _SPARE_LINES)
        lines = self._timeline.table(time.monotonic(), size.columns - 1, height, colour=True)
        self._put("\n".join(lines) + "\n")
        self._drawn = len(lines)


def _is_watched(environment) -> bool:
    """Return whether a person looks at the terminal of an environment, and it can draw."""
    told = [name for name in environment if name in _UNATTENDED or name.startswith(_UNATTENDED_BEGINNINGS)]
    is_unattended = any(environment[name] not in ("", "0", "false") for name in told)
    return environment.get("TERM", "dumb") != "dumb" and not is_unattended
