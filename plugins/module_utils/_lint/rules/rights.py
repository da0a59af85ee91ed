# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rights, policies, triggers and settings: around the tables, and none the less what the running version works with."""

from __future__ import annotations

import re

from ..ask import action, exists, object_of
from ..facts import Fact
from ..rule import CONTRACT, ERROR, EXPAND, MYSQLS, POSTGRESQL, SERVERS, WARNING, Context, rule

_LATER = "-- contract/, when every host runs the new version"


@rule(
    "revoke",
    ERROR,
    engines=SERVERS,
    phases=(EXPAND,),
    kinds=("other",),
    peers=("squawk:ban-revoke",),
    why="""The running version uses its rights at every moment: what is revoked fails with its next statement.""",
    instead=dict.fromkeys(SERVERS, f"{_LATER}\nREVOKE INSERT ON t FROM app;"),
)
def revoke(fact: Fact, context: Context) -> str | None:
    if not fact.name.upper().startswith(("REVOKE", "DENY")):
        return None
    return "the running version may still need the right that is taken away"


@rule(
    "row-security",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_table", "create_other", "alter_other", "drop_other"),
    peers=(
        "squawk:ban-alter-row-level-security",
        "squawk:ban-create-policy",
        "squawk:ban-alter-policy-condition",
        "squawk:ban-alter-policy-roles",
        "squawk:ban-drop-policy",
    ),
    why="""Row security and its policies decide which rows the running version sees and may write. Switched on without a
    policy it shows none; a permissive policy lets more through, a restrictive one less, and neither raises an error on
    reading.""",
    instead={
        "postgresql": "CREATE POLICY {name} ON {table} FOR ALL TO new_app USING (...);\n-- for a role of the new version alone"
    },
)
def row_security(fact: Fact, context: Context) -> str | None:
    if fact.table and not exists(fact, context):
        return None
    if fact.kind == "alter_table":
        if not re.search(r"\bROW LEVEL SECURITY\b", action(fact)):
            return None
        return f"the running version may see other rows of {fact.table}, or none"
    if object_of(fact) not in ("POLICY", "RULE"):
        return None
    return f"{object_of(fact).lower()} {fact.name} changes which rows the running version sees or may write"


@rule(
    "disable-trigger",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("alter_table", "alter_trigger"),
    peers=("squawk:ban-disable-trigger",),
    why="""What the trigger did, an audit row, a total, a foreign key's check (DISABLE TRIGGER ALL), is not done for what
    the running version writes meanwhile, and nobody does it afterwards. The lock, SHARE ROW EXCLUSIVE, makes writers wait
    as well.""",
    instead={
        "postgresql": "-- in the trigger's own function\nIF current_setting('everup.quiet', true) = 'on' THEN RETURN NEW; END IF;"
    },
)
def disable_trigger(fact: Fact, context: Context) -> str | None:
    if not re.match(r"(DISABLE|ENABLE REPLICA|ENABLE ALWAYS) (TRIGGER|RULE)\b", action(fact)) or not exists(fact, context):
        return None
    return f"what the running version writes to {fact.table} no longer passes the trigger"


@rule(
    "replica-identity",
    WARNING,
    engines=(POSTGRESQL,),
    kinds=("alter_table",),
    peers=("squawk:ban-replica-identity", "atlas:PG314"),
    why="""The replica identity says how a subscriber finds the row that changed. With NOTHING every UPDATE and DELETE of a
    published table is refused, with FULL each change carries the whole row and a subscriber without a key searches all of
    its own.""",
    instead={"postgresql": "ALTER TABLE {table} REPLICA IDENTITY USING INDEX {table}_pkey;"},
)
def replica_identity(fact: Fact, context: Context) -> str | None:
    if not action(fact).startswith("REPLICA IDENTITY") or not exists(fact, context):
        return None
    return f"{action(fact)[:40]} changes what subscribers get from {fact.table}"


@rule(
    "routine-options",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-alter-function-options",),
    why="""SECURITY DEFINER, STRICT, a search_path or other volatility change what the running version gets from the
    function it calls: other rights, NULL for NULL, values that are remembered when they should not be.""",
    instead={"postgresql": "CREATE FUNCTION {name}_2(...) ...;\n-- for the new version"},
)
def routine_options(fact: Fact, context: Context) -> str | None:
    if object_of(fact) not in ("FUNCTION", "PROCEDURE", "ROUTINE") or context.is_made(fact, "create_routine"):
        return None
    if re.search(r"\b(SET SCHEMA|OWNER TO|RENAME|DEPENDS)\b", action(fact)):
        return None
    return f"the running version calls {fact.name} under other rules"


@rule(
    "view-options",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-alter-view-options",),
    why="""security_invoker and security_barrier change whose rights count and which rows are seen, check_option refuses
    writes, and a column's default changes what the running version inserts through the view.""",
    instead={"postgresql": "CREATE VIEW {name}_2 WITH (security_invoker) AS ...;\n-- for the new version"},
)
def view_options(fact: Fact, context: Context) -> str | None:
    if object_of(fact) != "VIEW" or context.is_made(fact, "create_view"):
        return None
    if not re.search(r"(\bSET ?\(|\bRESET\b|\bALTER\b)", action(fact)):
        return None
    return f"the running version may see other rows through {fact.name}, or be refused"


@rule(
    "extension-changed",
    WARNING,
    engines=(POSTGRESQL,),
    phases=(EXPAND,),
    kinds=("alter_other",),
    peers=("squawk:ban-alter-extension",),
    why="""The running version uses the extension's types and functions. An update may change what they do, and cannot be
    undone; with DROP they are gone, with CASCADE every column of such a type as well.""",
    instead={"postgresql": f"{_LATER}\nDROP EXTENSION IF EXISTS {{name}};"},
)
def extension_changed(fact: Fact, context: Context) -> str | None:
    if object_of(fact) != "EXTENSION" or context.is_made(fact, "create_other"):
        return None
    return f"what the running version uses of extension {fact.name} may change"


@rule(
    "beyond-the-database",
    WARNING,
    engines=(POSTGRESQL, *MYSQLS),
    kinds=("alter_other", "set"),
    peers=("squawk:ban-alter-role-options", "squawk:ban-alter-database-options", "squawk:ban-alter-system-options"),
    why="""Settings of a role, a database or the server reach further than the schema: the next connection of the running
    version gets them, so do other applications, and no rollback of the release takes them back.""",
    instead={
        "postgresql": "-- with the server's configuration, where it is reviewed and kept",
        **dict.fromkeys(MYSQLS, "-- with the server's configuration, where it is reviewed and kept"),
    },
)
def beyond_the_database(fact: Fact, context: Context) -> str | None:
    if fact.kind == "set":
        return f"SET GLOBAL {fact.name} changes the server for everybody" if fact.has("global") else None
    if object_of(fact) not in ("ROLE", "USER", "GROUP", "DATABASE", "SYSTEM") or context.is_made(fact, "create_other"):
        return None
    if re.match(r"(RENAME|OWNER|COLLATE|DEFAULT)\b", action(fact)):
        return None
    return f"ALTER {object_of(fact)} changes settings for everybody who connects, and stays when the release is rolled back"


@rule(
    "drop-database",
    ERROR,
    engines=SERVERS,
    phases=(CONTRACT,),
    kinds=("drop_other",),
    peers=("squawk:ban-drop-database", "atlas:DS101"),
    why="""Everything in it is gone, the ledger of releases too, and no phase makes that right.""",
    instead=dict.fromkeys(SERVERS, "-- by hand, with a backup that was restored once"),
)
def drop_database(fact: Fact, context: Context) -> str | None:
    # To MySQL and MariaDB a schema is a database.
    objects = ("DATABASE", "SCHEMA") if context.target.engine in MYSQLS else ("DATABASE",)
    if object_of(fact) in objects or (object_of(fact) == "SCHEMA" and fact.has("cascade")):
        return f"{object_of(fact).lower()} {fact.name} goes with everything in it"
    return None
