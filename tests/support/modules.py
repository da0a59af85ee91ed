"""Runs one module of the collection for real, in a process of its own, without the cost of a whole Ansible run."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout

from ansible.module_utils import basic

# What Ansible's own wrapper does on the target. _ANSIBLE_PROFILE is asked for by ansible-core 2.19 and newer.
_RUNNER = """
import importlib, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
namespace, name, module = sys.argv[1].split(".")
importlib.import_module(f"ansible_collections.{namespace}.{name}.plugins.modules.{module}").main()
"""


def start_module(name: str, args: dict, *, check: bool = False, diff: bool = False):
    """Start a module in a Python of its own and return its process; finish_module() gives its result.

    Parameters:
        name: its full name, as ``everup.deploy.app_archive``.
        args: its options.
        check: run in check mode.
        diff: ask for the diff.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    process.stdin.write(_arguments(args, check, diff))
    process.stdin.close()
    process.stdin = None
    return process


def finish_module(process, timeout: float = 120) -> dict:
    """Wait at most timeout seconds for a started module and return what it returned, with ``failed`` in it."""
    out, err = process.communicate(timeout=timeout)
    return _result(process.returncode, out, err)


def run_module(name: str, args: dict, *, check: bool = False, diff: bool = False, timeout: float = 120) -> dict:
    """Run a module to its end and return what it returned, with ``failed`` in it; parameters as above.

    It runs in a fork of this process, which need not import Ansible anew, or, where threads forbid a fork, in a new one.
    """
    if threading.active_count() > 1:
        return finish_module(start_module(name, args, check=check, diff=diff), timeout)
    namespace, collection, short = name.split(".")
    module = importlib.import_module(f"ansible_collections.{namespace}.{collection}.plugins.modules.{short}")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if not pid:
            _run_and_exit(module, _arguments(args, check, diff), out, err)
        code = _wait(pid, timeout)
        out.seek(0)
        err.seek(0)
        return _result(code, out.read(), err.read())


def _arguments(args: dict, check: bool, diff: bool) -> str:
    controls = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **controls}})


def _run_and_exit(module, arguments: str, out, err) -> None:
    """Run main() as the process that a module is, and end it."""
    code = 1
    try:
        for number, file in ((0, open(os.devnull)), (1, out), (2, err)):  # noqa: SIM115 - until the process ends
            os.dup2(file.fileno(), number)
        basic._ANSIBLE_ARGS = arguments.encode()
        basic._ANSIBLE_PROFILE = "legacy"  # asked for by ansible-core 2.19 and newer
        with redirect_stdout(out), redirect_stderr(err):
            module.main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc(file=err)
    finally:
        out.flush()
        err.flush()
        os._exit(code)


def _wait(pid: int, timeout: float) -> int:
    """Return the exit code of a child process; one that takes too long is killed, which fails the test."""
    handle = os.pidfd_open(pid)
    try:
        ended = select.select([handle], [], [], timeout)[0]
    finally:
        os.close(handle)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended, f"the module had not ended after {timeout:g} s"
    return code


def _result(code: int, out: str, err: str) -> dict:
    try:
        result = json.loads(out)
    except ValueError:
        raise AssertionError(f"The module returned no JSON (rc {code}): {out}\n{err}") from None
    result.setdefault("failed", False)
    assert result["failed"] == (code != 0), (code, result)
    return result
