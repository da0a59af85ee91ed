# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module of the collection says of check mode and diff mode."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what it would do, without changing anything.
  diff_mode:
    description: Returns what it changed, or would change in check mode, when run with C(--diff).
"""

    ACTION_GROUPS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/everup.deploy.all), or the narrower group, in C(module_defaults) to set options once.
    support: full
    membership:
      - everup.deploy.all
"""
