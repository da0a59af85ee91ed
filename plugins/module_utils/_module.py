# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the AnsibleModule of every module here, maps exceptions to fail_json and keeps secrets inside."""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule

from ._errors import EverupError
from ._redact import redact, secrets_of


def outcome(argument_spec: dict, run, params: dict, check_mode: bool) -> dict:
    """Return what a module's function comes to, as a result that holds no secret parameter; raises nothing.

    Parameters:
        argument_spec: the module's whole argument spec.
        run: called as ``run(params, check_mode)``; returns the result dict, in which ``changed`` defaults to false.
        params: the parameters, as the spec validates them.
        check_mode: whether to change nothing.

    Every EverupError is a result with ``failed``, its sentence as ``msg`` and its details; any other exception is a bug of ours
    and comes with its traceback.
    """
    secrets = secrets_of(params, argument_spec)
    try:
        result = {"changed": False, **run(params, check_mode)}
    except EverupError as error:
        result = {**error.details, "failed": True, "msg": str(error)}
    except Exception as error:
        message = f"Unexpected {type(error).__name__}: {error}. This is a bug in everup.deploy."
        result = {"failed": True, "msg": message, "exception": traceback.format_exc()}
    # The names of the result are ours: a password that happens to be 'changed' must not hide one.
    return {name: redact(value, secrets) for name, value in result.items()}


def run_module(argument_spec: dict, run, **module_options) -> None:
    """Run one module from argument spec to exit.

    Parameters:
        argument_spec, run: see outcome(). ``warnings`` of the result become Ansible's own, and ``diff`` is dropped unless the
            user asked for it.
        module_options: further AnsibleModule arguments (``required_if``, ``mutually_exclusive`` ...).
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **module_options)
    module.no_log_values.update(secrets_of(module.params, argument_spec))
    result = outcome(argument_spec, run, module.params, module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)
