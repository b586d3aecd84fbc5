"""Recording facts: what became of each, extractors, and refusals as answers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from daemon import Daemon

import sayso
from sayso import Fact
from sayso.errors import InvalidStateError, NotAllowedError, UnavailableError


def test_each_fact_has_its_own_outcome(person: sayso.Person, steward: sayso.Ledger) -> None:
    became = person.remember_all(
        [
            Fact("job", "nurse", "work", evidence=["chat-4/turn-2"]),
            Fact("mood", "sad", "mental-health", provenance="inferred", confidence=0.5),
            Fact("pet", "cat", "no-such-category"),
            Fact("bad", float("nan"), "work"),
            Fact("city", "Bern", "location"),
        ]
    )
    assert [found.outcome for found in became] == ["recorded", "refused", "refused", "refused", "recorded"]
    assert [bool(found) for found in became] == [True, False, False, False, True]
    reasons = [found.error.reason if found.error else "" for found in became]
    assert reasons == ["", "RECORDING_REFUSED", "INVALID_REQUEST", "INVALID_REQUEST", ""]
    assert "no explicit consent names that category" in became[1].why
    assert "category" in became[2].why
    assert sorted(fact.key for fact in steward.person(person.id).profile()) == ["city", "job"]


def test_what_the_person_said_is_not_replaced_by_an_observation(person: sayso.Person, daemon: Daemon) -> None:
    person.remember("tone", "brief", category="communication-style", provenance="declared")
    refused = person.remember("tone", "long", category="communication-style")
    assert (refused.outcome, refused.error and refused.error.reason) == ("refused", "STATED_BY_SUBJECT")
    with daemon.ledger("service") as service:
        refused = service.person(person.id).remember("age", 7, category="age", provenance="declared")
    assert (refused.outcome, refused.error and refused.error.reason) == ("refused", "CHANNEL_ROLE_REQUIRED")


def test_an_older_observation_is_recorded_but_superseded(person: sayso.Person) -> None:
    now = datetime.now(timezone.utc)
    person.remember("city", "Bern", category="location", observed_at=now)
    older = person.remember("city", "Basel", category="location", observed_at=now - timedelta(days=1))
    assert (older.outcome, bool(older)) == ("superseded", False)
    assert older.event_id
    assert "later observation" in older.why


def test_a_repeated_request_records_nothing_new(person: sayso.Person, steward: sayso.Ledger) -> None:
    first = person.remember("job", "nurse", category="work", idempotency_key="k1")
    again = person.remember("job", "nurse", category="work", idempotency_key="k1")
    assert (first.outcome, again.outcome, again.event_id) == ("recorded", "unchanged", first.event_id)
    assert len(list(steward.person(person.id).profile())) == 1


def test_many_facts_go_in_batches(person: sayso.Person, steward: sayso.Ledger) -> None:
    became = person.remember_all([Fact(f"k{number}", number, "interest") for number in range(300)])
    assert all(became)
    assert len({found.event_id for found in became}) == 300


def test_a_full_record_refuses_what_does_not_fit_and_keeps_the_rest(person: sayso.Person) -> None:
    became = person.remember_all([Fact(f"large{number}", "x" * 16_000, "interest") for number in range(80)])
    fitted = [bool(found) for found in became]
    assert fitted == sorted(fitted, reverse=True)
    assert 0 < sum(fitted) < 80
    refused = became[-1].error
    assert refused is not None
    assert (refused.reason, refused.detail.metadata["max_bytes"]) == ("ATTRIBUTE_LIMIT_REACHED", "1048576")


def test_a_value_comes_back_as_it_was_recorded(person: sayso.Person) -> None:
    value: dict[str, Any] = {"a": [1, 2.5, None, True], "ü": {"nested": "text"}}
    assert person.remember("odd", value, category="interest")
    person.say_yes("memory", notice="welcome")
    with person.use("memory") as use:
        assert use.facts[0].value == value


def test_an_extractor_and_a_categorizer_are_plugged_in(daemon: Daemon, person: sayso.Person) -> None:
    seen: list[str] = []

    def extract(text: str) -> list[Fact]:
        seen.append(text)
        return [Fact("job", text.split()[-1]), Fact("tone", "brief", "communication-style", evidence=["own"])]

    def categorize(key: str, value: object) -> str:
        assert (key, value) == ("job", "nurse")
        return "work"

    with sayso.Ledger(data=daemon.data, extractor=extract, categorizer=categorize) as ledger:
        became = ledger.person(person.id).remember_from("I am a nurse", evidence=["chat-1/turn-3"])
    assert seen == ["I am a nurse"]
    assert [(found.outcome, found.fact.category, tuple(found.fact.evidence)) for found in became] == [
        ("recorded", "work", ("chat-1/turn-3",)),
        ("recorded", "communication-style", ("own",)),
    ]
    assert person.remember_from("x", extractor=lambda _text: []) == ()
    with pytest.raises(InvalidStateError):
        person.remember_from("I am a nurse")


def test_forgetting_removes_a_fact_from_the_profile(person: sayso.Person, steward: sayso.Ledger) -> None:
    person.remember("job", "nurse", category="work")
    assert person.forget("job", reason="moved on").positions
    assert list(steward.person(person.id).profile()) == []


def test_an_error_that_is_about_no_fact_is_raised(daemon: Daemon) -> None:
    with daemon.ledger("auditor") as auditor, pytest.raises(NotAllowedError) as raised:
        auditor.person("ada").remember("job", "nurse", category="work")
    assert raised.value.reason == "ROLE_NOT_ALLOWED"
    assert "service" in raised.value.detail.metadata["allowed_roles"]
    with sayso.Ledger("http://127.0.0.1:9", token="none", timeout=0.3) as nowhere, pytest.raises(UnavailableError):
        nowhere.person("ada").remember("job", "nurse", category="work")
