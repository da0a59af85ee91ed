# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes releases, members and the lease in the ledger; every write checks the fencing token."""

from __future__ import annotations

import json
import time

from .._db.ledger import Ledger
from .._db.who import whoami
from .._errors import EverupError
from .._moments import parse_time
from . import lease as lease_rules
from . import states

_RELEASE_COLUMNS = (
    "id, version, state, reached, schema_version, plan_hash, reason, opened_by, opened_at, expanding_at, expanded_at,"
    " rolling_at, rolled_at, contracting_at, contracted_at, rolling_back_at, rolled_back_at, failed_at, aborted_at"
)
_MEMBER_COLUMNS = "host, web_group, state, version_before, version_after, reason, planned_at, changed_at"


class Store:
    """The releases of one database.

    Parameters:
        ledger: the collection's own tables; they must exist for anything but reading.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.db = ledger.db
        names = ledger.names
        self._release, self._member, self._lease, self._event = (
            self.db.table(name) for name in (names.release, names.member, names.lease, names.event)
        )

    def check_ledger(self) -> None:
        """Refuse a database in which nothing was ever released.

        Raises:
            EverupError: it has no ledger.
        """
        if not self.ledger.exists():
            raise EverupError("This database has no ledger: nothing was released here yet. Run release.yml first.")

    def now(self) -> str:
        """Return the database's clock as ISO 8601 UTC text."""
        return self.db.query(f"SELECT {self.db.now()} AS now")[0]["now"]

    def releases(self) -> list[dict]:
        """Return every release, oldest first."""
        return self.db.query(f"SELECT {_RELEASE_COLUMNS} FROM {self._release} ORDER BY id")

    def find(self, version: str) -> dict:
        """Return the newest release of a version.

        Raises:
            EverupError: there is none.
        """
        found = [release for release in self.releases() if release["version"] == version]
        if not found:
            raise EverupError(f"There is no release {version} in this database's ledger: open it by running release.yml.")
        return found[-1]

    def members(self, release_id: int) -> dict:
        """Return the member rows of a release by host."""
        rows = self.db.query(
            f"SELECT {_MEMBER_COLUMNS} FROM {self._member} WHERE release_id = ? ORDER BY changed_at, host", (release_id,)
        )
        return {row["host"]: row for row in rows}

    def stays_out(self, release_id: int) -> dict:
        """Return by host where somebody else had taken its member out when it last left its pool: a state by balancer."""
        rows = self.db.query(
            f"SELECT subject, detail FROM {self._event} WHERE release_id = ? AND what = 'member_draining' ORDER BY id",
            (release_id,),
        )
        told = [(row["subject"], json.loads(row["detail"]).get("stays_out")) for row in rows]
        return {host: out for host, out in told if out is not None}

    def events(self, release_id: int | None, limit: int) -> list[dict]:
        """Return the newest events, oldest of them first; of one release or, with None, of the whole database."""
        where, parameters = ("WHERE release_id = ?", (release_id,)) if release_id is not None else ("", ())
        newest = f"SELECT id, at, who, what, release_id, subject, detail FROM {self._event} {where} ORDER BY id DESC"
        rows = self.db.query(self.db.first_rows(newest, max(0, limit)), parameters)
        return [{**row, "detail": json.loads(row["detail"])} for row in reversed(rows)]

    def lease(self) -> dict:
        """Return the lease with ``seconds_left`` by the database's clock, None when nobody holds it."""
        row = self.db.query(
            f"SELECT l.token, l.holder, l.holder_process, l.taken_at, l.renewed_at, l.expires_at, {self.db.now()} AS now,"
            f" r.version AS release_version FROM {self._lease} l LEFT JOIN {self._release} r ON r.id = l.release_id"
            " WHERE l.name = 'release'"
        )[0]
        now = parse_time(row.pop("now"))
        row["holder_process"] = json.loads(row["holder_process"] or "{}")
        row["seconds_left"] = (parse_time(row["expires_at"]) - now).total_seconds() if row["holder"] else None
        return row

    def open(
        self,
        version: str,
        process: dict,
        ttl_seconds: float,
        dead_token: int | None = None,
        takeover: bool = False,
        existing: bool = False,
        older_reason: str = "",
    ) -> tuple[dict, int, bool]:
        """Take the lease and open a release, or go on with it.

        Returns:
            the release, the fencing token, and whether the release is new.

        Raises:
            LeaseHeld: somebody else holds the lease.
            EverupError: another release is not finished, or the version is older than one whose contract has started.
        """
        with self.db.transaction():
            # Lock the row before it is read: a holder that renews at this moment must be seen as the holder it is.
            self.db.execute(f"UPDATE {self._lease} SET token = token WHERE name = 'release'")
            row = self.lease()
            verdict = lease_rules.may_take(row, process, row["seconds_left"] or 0.0, dead_token, takeover)
            token = row["token"] + (1 if verdict == "take" else 0)
            self._write_lease(row["token"], token, process, ttl_seconds)
            release = states.check_open(version, self.releases(), existing, older_reason)
            is_new = release is None
            if is_new:
                release = self._insert_release(version)
            self.db.execute(f"UPDATE {self._lease} SET release_id = ? WHERE name = 'release'", (release["id"],))
            if is_new:
                said = {"older_reason": older_reason} if older_reason else {}
                self.ledger.event("release_opened", release["id"], version, **said)
            if verdict == "take":
                self.ledger.event("lease_taken", release["id"], token=token, process=process, from_holder=row["holder"])
            return release, token, is_new

    def _write_lease(self, seen_token: int, token: int, process: dict, ttl_seconds: float) -> None:
        """Take or renew the lease by one conditional update on the token that was seen."""
        taken_at = self.db.now() if token != seen_token else "taken_at"
        written = self.db.execute(
            f"UPDATE {self._lease} SET token = ?, holder = ?, holder_process = ?, taken_at = {taken_at},"
            f" renewed_at = {self.db.now()}, expires_at = {self.db.later(ttl_seconds)} WHERE name = 'release' AND token = ?",
            (token, whoami(), json.dumps(process, sort_keys=True), seen_token),
        )
        if written != 1:
            raise EverupError("Another run took the lease at the same moment. Run this again to see who it is.")

    def _insert_release(self, version: str) -> dict:
        number = self.db.query(f"SELECT coalesce(max(id), 0) + 1 AS id FROM {self._release}")[0]["id"]
        self.db.execute(
            f"INSERT INTO {self._release} (id, version, state, reached, opened_by, opened_at)"
            f" VALUES (?, ?, 'open', 'open', ?, {self.db.now()})",
            (number, version, whoami()),
        )
        return self.find(version)

    def close(self, token: int) -> bool:
        """Give the lease back; returns whether this token still held it."""
        with self.db.transaction():
            return (
                self.db.execute(
                    f"UPDATE {self._lease} SET holder = NULL, holder_process = NULL, expires_at = NULL"
                    " WHERE name = 'release' AND token = ? AND holder IS NOT NULL",
                    (token,),
                )
                == 1
            )

    def renew(self, version: str, token: int, ttl_seconds: float) -> dict:
        """Keep the lease, writing nothing else; returns the release.

        Raises:
            LeaseLost: the token is not the newest.
        """
        with self.db.transaction():
            self.ledger.assert_token(token, ttl_seconds)
            return self.find(version)

    def advance(
        self,
        version: str,
        to: str,
        token: int,
        ttl_seconds: float,
        hosts: list[str] | None = None,
        reason: str | None = None,
        schema_version: str | None = None,
        plan_hash: str | None = None,
        gone: list[str] | None = None,
    ) -> tuple[dict, dict]:
        """Move a release to a state; returns the release before and after.

        Parameters:
            hosts: for ``rolled``, every host that must be ready at the version.
            reason: kept with the release and in the event.
            schema_version, plan_hash: kept with the release when given.
            gone: for ``rolled_back``, hosts that are gone for good and did not go back; kept in the event.

        Raises:
            LeaseLost: the token is not the newest.
            EverupError: the transition is not allowed, or hosts are not where they must be.
        """
        with self.db.transaction():
            self.ledger.assert_token(token, ttl_seconds)
            before = self.find(version)
            members = self.members(before["id"])
            touched = [host for host, row in members.items() if row["state"] != "rolled_back"]
            if to != before["state"] or to not in states.FINAL + states.MILESTONES:
                states.check_transition(
                    version, before["state"], before["reached"], to, before["contracting_at"] is not None, touched
                )
            _check_hosts(version, to, members, hosts, gone or [])
            self._write_state(before, to, reason, schema_version, plan_hash)
            if to != before["state"]:
                told = {"controller_at": round(time.time(), 3)} if to == "rolled" else {}
                told |= {"gone": gone} if gone else {}
                self.ledger.event(f"release_{to}", before["id"], version, reason=reason, before=before["state"], **told)
            return before, self.find(version)

    def _write_state(self, before: dict, to: str, reason: str | None, schema_version, plan_hash) -> None:
        written = self.db.execute(
            f"UPDATE {self._release} SET state = ?, reached = ?, {to}_at = coalesce({self._kept(before, to)}, {self.db.now()}),"
            " reason = ?, schema_version = coalesce(?, schema_version), plan_hash = coalesce(?, plan_hash)"
            " WHERE id = ? AND state = ?",
            (
                to,
                states.reached_after(to, before["reached"]),
                reason,
                schema_version,
                plan_hash,
                before["id"],
                before["state"],
            ),
        )
        if written != 1:
            raise EverupError(f"Release {before['version']} changed its state at the same moment. Run this again.")

    @staticmethod
    def _kept(before: dict, to: str) -> str:
        """Return the column whose time stays: going on with a state does not start its clock again."""
        return f"{to}_at" if before["state"] == to else "NULL"

    def fail(self, version: str, token: int, ttl_seconds: float, reason: str) -> tuple[dict, dict]:
        """Mark a release as failed and give the lease back; a release that is not in motion keeps its state."""
        with self.db.transaction():
            self.ledger.assert_token(token, ttl_seconds)
            before = self.find(version)
            # A release that has failed before has now failed for this reason.
            if before["state"] in ("open", "expanding", "rolling", "contracting", "rolling_back", "failed"):
                self._write_state(before, "failed", reason, None, None)
            after = self.find(version)
            what = "release_failed" if after["state"] == "failed" else "run_refused"
            self.ledger.event(what, before["id"], version, reason=reason, before=before["state"])
        self.close(token)
        return before, after

    def approve(self, version: str, approver: str, reason: str, plan_hash: str | None, check_mode: bool = False) -> bool:
        """Record that somebody approves of the contract; returns whether that is news.

        An approval from before the roll-out ended, or of other scripts, is none of this.

        Raises:
            EverupError: the release is not rolled out.
        """
        release = self.find(version)
        if release["reached"] != "rolled":
            raise EverupError(
                f"Release {version} is '{release['state']}': its contract can be approved once it is rolled out. "
                f"Next: {states.next_step(release['state'], release['reached'])}."
            )
        if check_mode:
            return not self._is_approved(release["id"], approver, plan_hash)
        with self.db.transaction():
            if self._is_approved(release["id"], approver, plan_hash):
                return False
            self.ledger.event("release_approved", release["id"], approver, reason=reason, plan_hash=plan_hash)
        return True

    def _is_approved(self, release_id: int, approver: str, plan_hash: str | None) -> bool:
        rows = self.db.query(
            f"SELECT what, subject, detail FROM {self._event} WHERE release_id = ?"
            " AND what IN ('release_rolled', 'release_approved') ORDER BY id",
            (release_id,),
        )
        ends = [number for number, row in enumerate(rows) if row["what"] == "release_rolled"]
        fresh = rows[ends[-1] + 1 :] if ends else rows
        return any(row["subject"] == approver and json.loads(row["detail"]).get("plan_hash") == plan_hash for row in fresh)

    def record_evidence(self, version: str, token: int, ttl_seconds: float, gates: list[dict], passes: bool) -> None:
        """Write what the gates of a contract have said, and each override by itself.

        Raises:
            LeaseLost: the token is not the newest.
        """
        with self.db.transaction():
            self.ledger.assert_token(token, ttl_seconds)
            release = self.find(version)
            self.ledger.event("contract_evidence", release["id"], version, passes=passes, gates=gates)
            for gate in gates:
                if gate["override"]:
                    self.ledger.event(
                        "contract_override", release["id"], gate["name"], reason=gate["override"], proof=gate["proof"]
                    )

    def record_member(self, version: str, token: int, ttl_seconds: float, member: dict) -> tuple[dict | None, dict]:
        """Write where one host is in a release; returns its row before and after.

        Parameters:
            member: host, web_group, state, version_before, version_after, reason, and stays_out, which is kept with the event
                of ``draining`` for whoever goes on after a kill. The first known version_before stays:
                after a kill the host may show the new version although the old one is where it came from.

        Raises:
            LeaseLost: the token is not the newest.
        """
        with self.db.transaction():
            self.ledger.assert_token(token, ttl_seconds)
            release = self.find(version)
            before = self.members(release["id"]).get(member["host"])
            if before is None:
                self.db.execute(
                    f"INSERT INTO {self._member} (release_id, host, web_group, state, version_before, version_after, reason,"
                    f" planned_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, {self.db.now()}, {self.db.now()})",
                    (
                        release["id"],
                        member["host"],
                        member["web_group"],
                        member["state"],
                        member["version_before"],
                        member["version_after"],
                        member["reason"],
                    ),
                )
            else:
                self.db.execute(
                    f"UPDATE {self._member} SET web_group = ?, state = ?, version_before = coalesce(version_before, ?),"
                    f" version_after = coalesce(?, version_after), reason = ?, changed_at = {self.db.now()}"
                    " WHERE release_id = ? AND host = ?",
                    (
                        member["web_group"],
                        member["state"],
                        member["version_before"],
                        member["version_after"],
                        member["reason"],
                        release["id"],
                        member["host"],
                    ),
                )
            after = self.members(release["id"])[member["host"]]
            more = {"stays_out": member["stays_out"]} if member.get("stays_out") is not None else {}
            self.ledger.event(
                f"member_{member['state']}",
                release["id"],
                member["host"],
                reason=member["reason"],
                version=after["version_after"],
                **more,
            )
            return before, after


def _check_hosts(version: str, to: str, members: dict, hosts: list[str] | None, gone: list[str]) -> None:
    """Refuse a state that says more about the hosts than the ledger does."""
    reasons = {}
    if to == "rolled":
        if hosts is None:
            raise EverupError("hosts is missing: 'rolled' is said of the hosts that must be ready.")
        reasons = states.hosts_not_ready(members, hosts, version)
    elif to == "rolled_back":
        reasons = states.hosts_not_back({host: row for host, row in members.items() if host not in gone})
    if reasons:
        named = "; ".join(f"{host} {reason}" for host, reason in reasons.items())
        raise EverupError(
            f"Release {version} is not {to.replace('_', ' ')} on every host: {named}. Run the same command again.", hosts=reasons
        )
