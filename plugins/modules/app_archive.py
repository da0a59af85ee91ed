#!/usr/bin/python
# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module: unpack a release of an application and switch to it atomically."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_archive
short_description: Unpack a release of an application and switch to it atomically
version_added: 0.1.0
author: everup.deploy contributors (@everup)
description:
  - Unpacks an archive to C(releases/VERSION) below O(dest), and points the symbolic link C(current) at it.
  - A release gets its name by a rename after all of it is on disk, and the link is switched by a rename, so a
    process killed at any instant leaves neither a half release that looks complete nor a missing C(current). The
    next run cleans up what the killed one left.
  - Runs at the same time on one host wait for each other.
  - The symbolic link C(previous) points at what was current before.
  - A version never changes its content. Another archive for a version that is unpacked is an error.
  - Refuses an archive with absolute paths, with C(..) in a path, with symbolic or hard links that lead outside, with
    a member twice, or with devices and pipes. Set-user-ID, set-group-ID, sticky and others' write bits are dropped,
    and everything belongs to the user who unpacks.
options:
  dest:
    description:
      - Absolute path of the folder of the application on the host.
      - It is made if it is missing.
    type: path
    required: true
  version:
    description:
      - The release.
      - It names the folder, so it has letters, digits, V(.), V(_), V(+), V(~) and V(-) only, begins with a letter, a
        digit or V(_), and contains no V(..).
    type: str
    required: true
  src:
    description:
      - Path of an archive with the content of the release, as tar.gz, tar.xz or zip.
      - It is a file of the control node, searched for like the O(ansible.builtin.copy#module:src) of a copy; on the host it stays
        as long as the task lasts. With O(remote_src=true) it is a file of the host.
      - Needed when the release is not unpacked yet.
      - In check mode nothing is copied, and a file of the host may be missing, since the task that brings it did not.
    type: path
  remote_src:
    description: Whether O(src) is on the host already.
    type: bool
    default: false
    version_added: 0.2.0
  checksum:
    description: SHA-256 checksum that the archive must have, as 64 hexadecimal digits, with or without C(sha256:) before.
    type: str
  state:
    description:
      - V(staged) unpacks the release and leaves C(current) as it is.
      - V(current) does the same and then points C(current) at the release.
    type: str
    choices: [staged, current]
    default: current
  keep:
    description:
      - How many releases to leave with O(state=current), those unpacked last.
      - The current release and the one before are never removed, and they count.
    type: int
    default: 3
  lock_timeout:
    description: How long to wait for another run on the same O(dest), in seconds.
    type: int
    default: 300
extends_documentation_fragment:
  - everup.deploy.attributes
  - everup.deploy.attributes.action_groups
attributes:
  check_mode:
    support: full
    details: Vets the archive as well, when it is on the host.
  diff_mode:
    support: full
seealso:
  - module: everup.deploy.app_archive_info
"""

EXAMPLES = r"""
- name: Unpack the release while the old one serves
  everup.deploy.app_archive:
    dest: /srv/shop
    version: 2.4.0
    src: build/shop-2.4.0.tar.gz
    checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    state: staged

- name: Switch to it
  everup.deploy.app_archive:
    dest: /srv/shop
    version: 2.4.0
  register: shop_switched

- name: Switch back
  everup.deploy.app_archive:
    dest: /srv/shop
    version: "{{ shop_switched.version_before }}"
"""

RETURN = r"""
version_before:
  description: Name of the folder that C(current) pointed at; null when there was none.
  returned: success
  type: str
  sample: 2.3.0
version:
  description: Name of the folder that C(current) points at now; null when there is none.
  returned: success
  type: str
  sample: 2.4.0
release_path:
  description: The folder of the release.
  returned: success
  type: str
  sample: /srv/shop/releases/2.4.0
staged:
  description: Whether this run unpacked the release.
  returned: success
  type: bool
releases:
  description: The complete releases that are left, the one unpacked last first.
  returned: success
  type: list
  elements: str
  sample: [2.4.0, 2.3.0]
removed:
  description: The releases that were removed.
  returned: success
  type: list
  elements: str
  sample: [2.1.0]
cleaned:
  description: What killed runs had left and this one removed.
  returned: success
  type: list
  elements: str
  sample: [.staging-2.4.0]
"""

from ansible_collections.everup.deploy.plugins.module_utils._app.archive import ensure
from ansible_collections.everup.deploy.plugins.module_utils._module import run_module

ARGUMENT_SPEC = {
    "dest": {"type": "path", "required": True},
    "version": {"type": "str", "required": True},
    "src": {"type": "path"},
    "remote_src": {"type": "bool", "default": False},  # the action plugin has seen to it
    "checksum": {"type": "str"},
    "state": {"type": "str", "choices": ["staged", "current"], "default": "current"},
    "keep": {"type": "int", "default": 3},
    "lock_timeout": {"type": "int", "default": 300},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, ensure)


if __name__ == "__main__":
    main()
