# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the AnsibleModule of every module here, maps exceptions to fail_json and keeps secrets inside."""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule

from ._errors import EverupError
from ._redact import redact, secrets_of


def run_module(argument_spec: dict, run, **module_options) -> None:
    """Run one module from argument spec to exit.

    Parameters:
        argument_spec: the module's whole argument spec.
        run: called as ``run(params, check_mode)``; returns the result dict, in which ``changed`` defaults to false,
            ``warnings`` become Ansible's own, and ``diff`` is dropped unless the user asked for it.
        module_options: further AnsibleModule arguments (``required_if``, ``mutually_exclusive`` ...).

    Every EverupError ends in ``fail_json`` with its sentence and details; any other exception is a bug of ours
    and ends in ``fail_json`` with its traceback. No secret parameter is left in either.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **module_options)
    secrets = secrets_of(module.params, argument_spec)
    module.no_log_values.update(secrets)
    try:
        result = run(module.params, module.check_mode)
    except EverupError as error:
        details = {name: redact(value, secrets) for name, value in error.details.items()}
        module.fail_json(msg=redact(str(error), secrets), **details)
    except Exception as error:
        module.fail_json(
            msg=redact(f"Unexpected {type(error).__name__}: {error}. This is a bug in everup.deploy.", secrets),
            exception=redact(traceback.format_exc(), secrets),
        )
    for warning in result.pop("warnings", []):
        module.warn(redact(warning, secrets))
    result.setdefault("changed", False)
    if not module._diff:
        result.pop("diff", None)
    # The names of the result are ours: a password that happens to be 'changed' must not hide one.
    module.exit_json(**{name: redact(value, secrets) for name, value in result.items()})
