# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one place that knows which witness is an engine's."""

from __future__ import annotations

from ..engines.base import Engine
from .base import Witness


def witness_of(db: Engine) -> Witness:
    """Return what can testify of the use of a database; no other engine's code is imported."""
    if db.name == "postgresql":
        from .postgresql import PostgresqlWitness as Found
    elif db.name in ("mariadb", "mysql"):
        from .mysql import MysqlWitness as Found
    elif db.name == "sqlserver":
        from .sqlserver import SqlserverWitness as Found
    else:
        from .sqlite import SqliteWitness as Found
    return Found(db)
