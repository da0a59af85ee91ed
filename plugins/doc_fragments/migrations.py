# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the modules that read a migrations folder."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description:
      - The migrations folder on the host that the module runs on; it holds one folder per phase.
      - A script is named C(VERSION_description.sql), where VERSION is digits joined by C(.), C(_) or C(-); Flyway's C(V7__x.sql)
        is read as well. Text is UTF-8, or UTF-16 with BOM.
    type: path
    required: true
  expand_folder:
    description: Name of the folder of the expand phase below O(path).
    type: str
    default: expand
  contract_folder:
    description: Name of the folder of the contract phase below O(path).
    type: str
    default: contract
  repeatable_folder:
    description:
      - Name of the folder of the repeatable scripts below O(path).
      - They hold views, procedures and functions as their newest text, and run at the end of the expand phase whenever that text
        is not the one that ran last. Their names are free; they run by name, or behind the script that
        C(-- everup:) C(after=name) names.
    type: str
    default: repeatable
  backfill_folder:
    description: Name of the folder of the backfill definitions below O(path).
    type: str
    default: backfill
  placeholders:
    description:
      - Values for C(${name}) in the scripts. An undefined one is an error; C($${) is a literal C(${).
      - Checksums, diffs, errors and the history know only the text before the values were put in. Ansible itself does not know
        that a value is secret, and shows the options of a task with C(-vvv).
    type: dict
    default: {}
"""
