# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a webhook is told, in each form."""

from __future__ import annotations

import json

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._release.notification import notification

FAILED = {
    "version": "2.4.0",
    "state": "failed",
    "reached": "expanded",
    "reason": "web1: <health> & more",
    "opened_by": "ann@c1",
    "opened_at": "T0",
    "failed_at": "T1",
}


def test_programs_get_fields() -> None:
    assert notification(FAILED) == {
        "version": "2.4.0",
        "state": "failed",
        "since": "T1",
        "reason": "web1: <health> & more",
        "opened_by": "ann@c1",
        "next_step": "run everup.deploy.rollout again, everup.deploy.rollback, or everup.deploy.abort where no host was touched",
        "text": "Release 2.4.0 is failed",
    }


def test_slack_gets_a_text_in_which_nothing_is_a_control_character() -> None:
    next_line = "Next: run everup.deploy.rollout again, everup.deploy.rollback, or everup.deploy.abort where no host was touched"
    assert notification(FAILED, "slack") == {"text": f"*Release 2.4.0 is failed*\nweb1: &lt;health&gt; &amp; more\n{next_line}"}


def test_teams_gets_a_card_without_empty_facts() -> None:
    [attachment] = notification({**FAILED, "state": "rolled", "reached": "rolled", "reason": None}, "teams")["attachments"]
    title, facts = attachment["content"]["body"]
    assert title["text"] == "Release 2.4.0 is rolled"
    assert [fact["title"] for fact in facts["facts"]] == ["Opened by", "Next"]
    json.dumps(attachment)


def test_what_a_run_is_doing_is_not_asked_of_people() -> None:
    begun = {**FAILED, "state": "rolling", "reason": None, "rolling_at": "T1"}
    assert notification(begun)["next_step"] == "this run goes on"
    assert notification(begun, error="the lease is lost")["next_step"].startswith("run everup.deploy.rollout again")
    assert notification({**begun, "state": "expanded"})["next_step"] == "run everup.deploy.rollout"


@pytest.mark.parametrize("form", ["json", "slack", "teams"])
def test_a_run_that_leaves_the_release_as_it_was_tells_its_error(form) -> None:
    rolled = {**FAILED, "state": "rolled", "reached": "rolled", "reason": None, "rolled_at": "T1"}
    refused = json.dumps(notification(rolled, form, "the soak has 2 h left"))
    assert "the soak has 2 h left" in refused
    assert "A run for release 2.4.0 ended with an error, it is rolled as before" in refused
    assert notification(FAILED, form, "another word for it") == notification(FAILED, form)


@pytest.mark.parametrize("form", ["json", "slack", "teams"])
@pytest.mark.parametrize("state", ["open", "rolled", "failed"])
def test_an_error_that_the_ledger_does_not_have_is_told_with_what_was_known(form, state) -> None:
    told = json.dumps(notification({**FAILED, "state": state}, form, "the disk is full", False))
    assert "the disk is full" in told and "web1" not in told and "this run goes on" not in told
    assert f"ended with an error that the ledger does not have; it was {state} before" in told


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(EverupError, match="format is 'carrier pigeon': it must be one of json, slack, teams"):
        notification(FAILED, "carrier pigeon")
