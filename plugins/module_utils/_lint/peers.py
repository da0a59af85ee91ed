# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What other linters look for, and which rules of ours cover it, or why none does.

The names are those of squawk 2.70, strong_migrations 2 and Atlas (its analyzers for PostgreSQL, MySQL, MariaDB and SQLite as of
July 2026). Which of our rules covers a name stands with the rule, in :attr:`.rule.Rule.peers`.
"""

from __future__ import annotations

from .rule import RULES

PEERS = {
    "squawk": (
        "adding-field-with-default",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "adding-required-field",
        "adding-serial-primary-key-field",
        "ban-add-column",
        "ban-add-composite-attribute",
        "ban-add-enum-value",
        "ban-alter-database-options",
        "ban-alter-domain-with-add-constraint",
        "ban-alter-extension",
        "ban-alter-function-options",
        "ban-alter-generated-expression",
        "ban-alter-identity",
        "ban-alter-policy-condition",
        "ban-alter-policy-roles",
        "ban-alter-role-options",
        "ban-alter-row-level-security",
        "ban-alter-sequence-values",
        "ban-alter-system-options",
        "ban-alter-view-options",
        "ban-char-field",
        "ban-concurrent-index-creation-in-transaction",
        "ban-create-domain-with-constraint",
        "ban-create-policy",
        "ban-detach-inheritance",
        "ban-disable-trigger",
        "ban-drop-column",
        "ban-drop-constraint",
        "ban-drop-database",
        "ban-drop-default",
        "ban-drop-domain",
        "ban-drop-extension",
        "ban-drop-function",
        "ban-drop-generated-expression",
        "ban-drop-index",
        "ban-drop-not-null",
        "ban-drop-policy",
        "ban-drop-schema",
        "ban-drop-sequence",
        "ban-drop-table",
        "ban-drop-trigger",
        "ban-drop-type",
        "ban-drop-view",
        "ban-duplicate-column-assignments",
        "ban-new-write-restriction",
        "ban-replace-view-function",
        "ban-replica-identity",
        "ban-revoke",
        "ban-set-default",
        "ban-set-schema",
        "ban-truncate-cascade",
        "ban-uncommitted-transaction",
        "changing-column-type",
        "constraint-missing-not-valid",
        "disallowed-unique-constraint",
        "identifier-too-long",
        "prefer-bigint-over-int",
        "prefer-bigint-over-smallint",
        "prefer-identity",
        "prefer-repack",
        "prefer-robust-stmts",
        "prefer-text-field",
        "prefer-timestamp-tz",
        "renaming-column",
        "renaming-object",
        "renaming-table",
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
        "require-concurrent-partition-detach",
        "require-concurrent-reindex",
        "require-enum-value-ordering",
        "require-lock-timeout",
        "require-statement-timeout",
        "require-table-schema",
        "require-timeout-settings",
        "syntax-error",
        "transaction-nesting",
        "unused-ignore",
    ),
    "strong_migrations": (
        "add_check_constraint",
        "add_check_constraint_mysql",
        "add_column_auto_incrementing",
        "add_column_default",
        "add_column_default_callable",
        "add_column_generated_stored",
        "add_column_json",
        "add_exclusion_constraint",
        "add_foreign_key",
        "add_index",
        "add_index_columns",
        "add_index_corruption",
        "add_reference",
        "add_unique_constraint",
        "change_column",
        "change_column_constraint",
        "change_column_default",
        "change_column_null",
        "change_column_null_mysql",
        "change_column_null_postgresql",
        "change_column_with_not_null",
        "change_table",
        "create_table",
        "execute",
        "remove_column",
        "remove_index",
        "rename_column",
        "rename_schema",
        "rename_table",
        "validate_check_constraint",
        "validate_foreign_key",
    ),
    "atlas": (
        *("DS101", "DS102", "DS103"),
        *("MF101", "MF102", "MF103", "MF104"),
        *("BC101", "BC102", "BC103", "BC104"),
        *("CD101", "CD102", "CD103"),
        *("PG101", "PG102", "PG103", "PG104", "PG105", "PG108", "PG109", "PG110"),
        *("PG301", "PG302", "PG303", "PG304", "PG305", "PG306", "PG307", "PG308", "PG309", "PG310", "PG311", "PG312"),
        *("PG314", "PG320"),
        *("MY101", "MY102", "MY110", "MY111", "MY112", "MY113", "MY120", "MY121", "MY122", "MY123"),
        *("MY130", "MY131", "MY132", "MY133", "MY134", "MY135", "MY136", "MY137", "MY138", "MY139"),
        *("MY140", "MY141", "MY142", "MY143", "MY144", "MY145", "MY146", "MY147", "MY148"),
        "LT101",
        *("TX101", "TX201"),
        *("NM101", "NM102", "NM103", "NM104", "NM105", "NM106"),
        *("OW101", "OW102"),
        "SA101",
        "non-linear",
    ),
}

_TIMEOUTS = (
    "the runner sets a lock time-out in front of every script and bounds each wait, a script need not; one that switches it "
    "off meets lock-timeout-disabled"
)
_NAMES = "how a team names things harms nobody while a release runs; a linter of style (sqlfluff) is the place for it"
_RAILS = (
    "there is no wrapper here whose inside could not be seen: every script is SQL and is read, and what cannot be is a finding"
)
_OWNERS = "who may change what is decided where changes are reviewed (CODEOWNERS), and by the rights of the database user"

LEFT_OUT = {
    "squawk:ban-add-column": "new columns are what expand is for; expand-required-column has those that break inserts",
    "squawk:ban-duplicate-column-assignments": "PostgreSQL refuses the statement itself, on the first test database it meets",
    "squawk:require-lock-timeout": _TIMEOUTS,
    "squawk:require-statement-timeout": _TIMEOUTS,
    "squawk:require-timeout-settings": _TIMEOUTS,
    "squawk:require-table-schema": "which schema a script is for is up to the connection: one folder serves every environment",
    "squawk:syntax-error": "not a rule of ours but the finding `unparsable`, which no setting switches off",
    "squawk:unused-ignore": "not a rule of ours but the findings `unused-suppression` and `unknown-suppression`",
    "strong_migrations:change_table": _RAILS,
    "strong_migrations:execute": _RAILS,
    "atlas:PG110": "the order of columns costs some bytes a row and blocks nobody",
    **{f"atlas:NM10{number}": _NAMES for number in range(1, 7)},
    "atlas:OW101": _OWNERS,
    "atlas:OW102": _OWNERS,
    "atlas:SA101": "whether a routine can be tricked into running foreign SQL is for its review, not for a release",
    "atlas:non-linear": "the plan refuses a script that comes too late or was changed, before anything runs",
}


def covered_by(peer: str) -> list[str]:
    """Return the names of our rules that cover a peer's, as ``squawk:ban-char-field``; none for what is left out."""
    return sorted(rule.name for rule in RULES.values() if peer in rule.peers)


def peers() -> list[str]:
    """Return every name of every peer, as ``tool:name``."""
    return [f"{tool}:{name}" for tool, names in PEERS.items() for name in names]
