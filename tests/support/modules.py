"""Runs one module of the collection for real, in a process of its own, without the cost of a whole Ansible run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# What Ansible's own wrapper does on the target. _ANSIBLE_PROFILE is asked for by ansible-core 2.19 and newer.
_RUNNER = """
import importlib, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
namespace, name, module = sys.argv[1].split(".")
importlib.import_module(f"ansible_collections.{namespace}.{name}.plugins.modules.{module}").main()
"""


def start_module(name: str, args: dict, *, check: bool = False, diff: bool = False, python: str = sys.executable):
    """Start a module and return its process; finish_module() gives its result.

    Parameters:
        name: its full name, as ``everup.deploy.app_archive``.
        args: its options.
        check: run in check mode.
        diff: ask for the diff.
        python: the interpreter; ansible and this collection must be importable in it.
    """
    controls = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}
    text = json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **controls}})
    process = subprocess.Popen(
        [python, "-c", _RUNNER, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
    return process


def finish_module(process, timeout: float = 120) -> dict:
    """Wait at most timeout seconds for a started module and return what it returned, with ``failed`` in it."""
    out, err = process.communicate(timeout=timeout)
    try:
        result = json.loads(out)
    except ValueError:
        raise AssertionError(f"The module returned no JSON (rc {process.returncode}): {out}\n{err}") from None
    result.setdefault("failed", False)
    assert result["failed"] == (process.returncode != 0), (process.returncode, result)
    return result


def run_module(name: str, args: dict, *, check=False, diff=False, python=sys.executable, timeout=120) -> dict:
    """Run a module to its end and return what it returned, with ``failed`` in it; parameters as above."""
    return finish_module(start_module(name, args, check=check, diff=diff, python=python), timeout)
