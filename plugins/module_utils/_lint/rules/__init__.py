# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules, one file a family; importing this package registers all of them."""

from __future__ import annotations

from . import (  # noqa: F401 - that registers them
    behaviour,
    columns,
    constraints,
    contract,
    definitions,
    dynamic_sql,
    expand_drops,
    expand_renames,
    expand_requirements,
    indexes,
    mysql,
    rights,
    sqlserver_constraints,
    sqlserver_indexes,
    sqlserver_scripts,
    sqlserver_tables,
    tables,
    transactions,
    types,
)
