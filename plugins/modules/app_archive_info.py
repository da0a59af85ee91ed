#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: which release of an application a host runs and which it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_archive_info
short_description: Tell which release of an application is current and which are unpacked
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Reads a folder that M(everup.deploy.app_archive) keeps.
  - A folder that is not there has no current version and no releases, which is no error.
options:
  dest:
    description: Absolute path of the folder of the application on the host.
    type: path
    required: true
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Changes nothing.
seealso:
  - module: everup.deploy.app_archive
"""

EXAMPLES = r"""
- name: See what runs
  everup.deploy.app_archive_info:
    dest: /srv/shop
  register: shop_installed

- name: Copy the archive only where the release is not unpacked yet
  ansible.builtin.copy:
    src: shop-2.4.0.tar.gz
    dest: /var/tmp/shop-2.4.0.tar.gz
    mode: "0644"
  when: "'2.4.0' not in shop_installed.releases"
"""

RETURN = r"""
version:
  description: Name of the folder that C(current) points at; null when there is none.
  returned: success
  type: str
  sample: 2.4.0
previous:
  description: What was current before; null when there was nothing.
  returned: success
  type: str
  sample: 2.3.0
releases:
  description:
    - The complete releases, the one unpacked last first.
    - What was unpacked by half, or was not unpacked by M(everup.deploy.app_archive), is not among them.
  returned: success
  type: list
  elements: str
  sample: [2.4.0, 2.3.0]
"""

from ansible_collections.everup.deploy.plugins.module_utils._app.archive import look
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {"dest": {"type": "path", "required": True}}


def run(params: dict, check_mode: bool) -> dict:
    """Return what is below dest."""
    return look(params["dest"])


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
