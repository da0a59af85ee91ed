#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: which version of a package a host has, and whether it can be brought to another and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_info
short_description: Tell which version of a package is installed, and whether another can be
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Asks C(dpkg-query) and C(apt-cache), or C(rpm) and C(dnf), and changes nothing.
  - The lists of the repositories are taken as they are; C(dnf) renews what has expired.
options:
  name:
    description: The packages, which all have the same version; the first one is the application's.
    type: list
    elements: str
    required: true
  version:
    description:
      - The version that is wanted, in the package manager's words. V(*) stands for anything.
      - Without its epoch or its revision it means the newest revision of that version that a repository has.
    type: str
  version_before:
    description: The version that it must be possible to go back to, in the same words.
    type: str
  manager:
    description: The package manager; V(auto) for the one that the host has.
    type: str
    choices: [auto, apt, dnf]
    default: auto
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: See whether the shop can be brought to 2.4.0 and back
  everup.deploy.package_info:
    name: [shop, shop-assets]
    version: 2.4.0
    version_before: 2.3.0
  register: shop_package
  failed_when: shop_package.refusals | length > 0
"""

RETURN = r"""
manager:
  description: The package manager.
  returned: success
  type: str
  sample: apt
installed:
  description: The version that is installed of the first package; empty when it is not installed, or only by half.
  returned: success
  type: str
  sample: 1:2.3.0-1
installed_names:
  description: The same without epoch and revision, without epoch, and as it is.
  returned: success
  type: list
  elements: str
  sample: [2.3.0, 2.3.0-1, "1:2.3.0-1"]
is_wanted:
  description: Whether what is installed is O(version).
  returned: success
  type: bool
available:
  description: What the repositories have of the first package, newest first.
  returned: success
  type: list
  elements: str
  sample: ["1:2.4.0-1", "1:2.3.0-1"]
specs:
  description: What the package manager is told to install for O(version).
  returned: success
  type: list
  elements: str
  sample: ["shop=1:2.4.0-1"]
refusals:
  description: Why O(version) cannot be installed, or O(version_before) not again.
  returned: success
  type: list
  elements: str
interrupted:
  description: Whether dpkg was killed while it worked, so that C(dpkg --configure -a) comes first.
  returned: success
  type: bool
"""

from ansible_collections.everup.deploy.plugins.module_utils._app.package_managers import ask, detect, is_interrupted
from ansible_collections.everup.deploy.plugins.module_utils._app.packages import choose, names_of, refusals, specs
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    "name": {"type": "list", "elements": "str", "required": True},
    "version": {"type": "str"},
    "version_before": {"type": "str"},
    "manager": {"type": "str", "choices": ["auto", "apt", "dnf"], "default": "auto"},
}


def run(params: dict, check_mode: bool) -> dict:
    """Return what the host and its repositories have of the packages."""
    manager = detect(params["manager"])
    packages = [ask(manager, name) for name in params["name"]]
    installed, wanted = packages[0].installed or "", params["version"]
    return {
        "manager": manager,
        "installed": installed,
        "installed_names": names_of(manager, installed) if installed else [],
        "is_wanted": bool(installed and wanted and choose(manager, wanted, [installed])),
        "available": packages[0].available,
        "specs": specs(manager, packages, wanted) if wanted else [],
        "refusals": refusals(manager, packages, wanted, params["version_before"]) if wanted else [],
        "interrupted": is_interrupted(manager) or any(package.broken for package in packages),
    }


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
