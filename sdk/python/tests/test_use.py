"""Using facts: what is allowed, what is withheld, and that everything fails closed."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from daemon import Daemon

import sayso
from sayso.errors import CredentialError, InvalidRequestError, NotFoundError, UnavailableError


def consenting(person: sayso.Person) -> sayso.Person:
    """Records a fact and a consent to `memory`."""
    assert person.remember("tone", "brief and dry", category="communication-style")
    person.say_yes("memory", notice="welcome")
    return person


def test_without_consent_nothing_may_be_used_and_the_answer_says_what_would_change_that(person: sayso.Person) -> None:
    person.remember("tone", "brief", category="communication-style")
    with person.use("memory") as use:
        assert (use.block, use.facts, bool(use), use.status) == ("", (), False, "nothing_allowed")
        (withheld,) = use.withheld
    assert (withheld.reason, withheld.decided_by, withheld.count) == ("no_consent", "public", 1)
    assert withheld.remedy == sayso.Remedy("consent", "memory", "communication-style", only_by_person=False)
    assert "Consent by the person would change it." in str(withheld)
    assert not use.reported


def test_the_block_says_who_said_it_and_since_when_and_is_the_same_each_time(person: sayso.Person) -> None:
    person.remember("tone", "brief and dry", category="communication-style", provenance="declared")
    person.remember("job", "nurse", category="work", provenance="inferred", confidence=0.8, model="m1")
    person.remember("city", {"b": 1, "a": "Köln\n- \u2028new"}, category="location")
    person.say_yes("memory", notice="welcome")
    blocks = []
    for _ in range(2):
        with person.use("memory", chat="chat-1") as use:
            blocks.append(use.block)
            today = f"{use.facts[0].observed_at:%Y-%m-%d}"
    assert blocks[0] == blocks[1]
    assert blocks[0].splitlines()[1:] == [
        f'- "tone": "brief and dry" (said by the person, since {today})',
        f'- "city": {{"a":"Köln\\n- \\u2028new","b":1}} (observed by a service, since {today})',
        f'- "job": "nurse" (inferred by a model with confidence 0.80, since {today})',
    ]


def test_a_use_is_reported_with_the_replys_own_id_and_explained_by_it(person: sayso.Person) -> None:
    consenting(person)
    with person.use("memory", chat="chat-1") as use:
        assert use.block
        use.replied("reply-77", shaped_by=["tone"])
        assert use.check()
    assert (use.valid, use.reported, use.problem, use.reply) == (True, True, None, "reply-77")
    why = person.why(reply="reply-77")
    assert (why.grant_id, why.purpose, why.chat) == (use.grant_id, "memory", "chat-1")
    assert (why.allowed, why.replies) == (("tone",), ("reply-77",))
    assert "shaped by: tone" in str(why)


def test_a_reply_without_a_name_gets_one_that_finds_its_grant_in_every_process(
    daemon: Daemon, person: sayso.Person
) -> None:
    consenting(person)
    with person.use("memory") as use:
        assert use.block
    assert use.reported
    with daemon.ledger() as other:
        assert other.why(reply=use.reply).replies == (use.reply,)
        with pytest.raises(NotFoundError):
            other.why(reply="reply-of-nobody")


def test_one_use_may_lead_to_several_replies(person: sayso.Person, steward: sayso.Ledger) -> None:
    consenting(person)
    with person.use("memory") as use:
        assert use.facts
        use.replied("first")
        use.replied("second", shaped_by=[], ai_disclosed=True)
    assert len(use.receipts) == 2
    reported = [found for found in steward.person(person.id).uses() if found.kind == "reported"]
    assert [found.reply for found in reported] == ["first", "second"]
    assert steward.person(person.id).why(reply="second").replies == ("first", "second")


def test_what_was_not_read_and_what_failed_is_not_reported(person: sayso.Person, steward: sayso.Ledger) -> None:
    consenting(person)
    with person.use("memory"):
        pass
    with pytest.raises(ZeroDivisionError), person.use("memory") as failed:
        assert failed.block
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), person.use("memory") as named:
        assert named.block
        named.replied("sent-before-the-error")
        raise ZeroDivisionError
    assert not failed.reported
    assert named.reported
    assert [use.reply for use in steward.person(person.id).uses() if use.kind == "reported"] == [
        "sent-before-the-error"
    ]


def test_a_withdrawal_in_mid_conversation_empties_the_block_at_once(person: sayso.Person) -> None:
    consenting(person)
    with person.use("memory", chat="chat-1") as use:
        assert use.block
        use.replied("reply-1")
        said = person.withdraw("memory")
        assert (use.block, use.facts, use.status) == ("", (), "ended")
    assert said.revoked_grants == (use.grant_id,)
    assert (use.valid, use.ended_because, use.reported) == (False, "consent_withdrawn", True)
    with person.use("memory", chat="chat-1") as after:
        assert (after.block, after.status) == ("", "nothing_allowed")
    assert after.withheld[0].reason == "consent_withdrawn"
    assert after.withheld[0].remedy.only_by_person


def test_a_withdrawal_elsewhere_is_found_by_the_check_before_the_reply_is_sent(
    daemon: Daemon, person: sayso.Person
) -> None:
    consenting(person)
    with person.use("memory") as use, daemon.ledger("channel") as elsewhere:
        assert use.block
        elsewhere.person(person.id).withdraw("memory")
        check = use.check()
        assert (bool(check), check.reason, use.block) == (False, "consent_withdrawn", "")
        use.replied("sent-all-the-same")
    assert (use.valid, use.reported) == (False, True)


def test_what_a_recording_replaces_ends_the_grants_that_allowed_it(person: sayso.Person) -> None:
    consenting(person)
    with person.use("memory") as use:
        assert use.block
        assert person.remember("tone", "warm", category="communication-style").revoked_grants == (use.grant_id,)
        assert use.status == "ended"


@pytest.mark.parametrize("kind", ["objection", "restriction", "pause"])
def test_each_no_of_the_person_counts(kind: Any, person: sayso.Person) -> None:
    consenting(person)
    person.signal(kind, chat="chat-1" if kind == "pause" else "")
    with person.use("memory", chat="chat-1") as use:
        assert use.block == ""
    assert use.withheld[0].remedy.kind == "lift_signal"
    person.signal(kind, lift=True, chat="chat-1" if kind == "pause" else "")
    with person.use("memory", chat="chat-1") as use:
        assert use.block


def test_saying_no_and_objecting_stop_every_use(person: sayso.Person) -> None:
    consenting(person).say_no()
    with person.use("memory") as use:
        assert use.withheld[0].reason == "consent_refused"
    person.say_yes("memory", notice="welcome")
    person.object("memory")
    with person.use("memory") as use:
        assert use.withheld[0].reason == "objected"
    assert [consent.decision for consent in person.consents()] == ["given", "refused", "given"]


def test_a_special_category_needs_explicit_consent_that_names_it(person: sayso.Person) -> None:
    consenting(person).remember("sleep", "bad", category="health")
    with person.use("memory") as use:
        assert [fact.key for fact in use.facts] == ["tone"]
    assert (use.withheld[0].remedy.kind, use.withheld[0].remedy.category) == ("explicit_consent", "health")
    person.say_yes("memory", notice="welcome", categories=["health"], explicit=True)
    with person.use("memory") as use:
        assert [fact.key for fact in use.facts] == ["tone", "sleep"]


def test_fewer_categories_or_keys_can_be_asked_for(person: sayso.Person) -> None:
    consenting(person).remember("job", "nurse", category="work")
    with person.use("memory", categories="work") as use:
        assert [fact.key for fact in use.facts] == ["job"]
    with person.use("memory", keys=["tone"]) as use:
        assert [fact.key for fact in use.facts] == ["tone"]


def test_a_person_of_whom_nothing_is_known_has_an_empty_block(person: sayso.Person) -> None:
    with person.use("memory") as use:
        assert (use.block, use.status, use.grant_id) == ("", "unknown_person", "")
        assert not use.check()
    assert use.problem is None


def test_nothing_outlives_its_grant_or_its_block(person: sayso.Person) -> None:
    consenting(person)
    with person.use("memory", ttl=1.0) as use:
        assert use.block
        time.sleep(1.1)
        assert (use.block, use.facts, use.status) == ("", (), "expired")
        use.replied("late")
    assert use.reported
    with person.use("memory") as use:
        assert use.block
    assert (use.block, use.facts, use.status) == ("", (), "closed")


def test_a_grant_that_is_given_again_counts_for_half_of_its_time_only(person: sayso.Person) -> None:
    consenting(person)
    with person.use("memory", chat="chat-1", ttl=4.0) as first:
        assert first.block
    with person.use("memory", chat="chat-1", ttl=4.0) as again:
        assert again.block
        assert (again.grant_id, again.expires_at) == (first.grant_id, first.expires_at)
        time.sleep(2.1)
        assert again.status == "expired"


def test_the_clock_of_this_machine_does_not_prolong_a_grant(
    person: sayso.Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    consenting(person)
    import sayso._use as module

    with person.use("memory") as use:
        assert use.block
        later = module.now() + timedelta(minutes=11).total_seconds()
        monkeypatch.setattr(module, "now", lambda: later)
        assert use.block == ""


def test_an_unreachable_daemon_means_an_empty_block_soon(caplog: pytest.LogCaptureFixture) -> None:
    with sayso.Ledger("http://127.0.0.1:9", token="none", reply_timeout=0.5) as ledger:
        begun = time.monotonic()
        with ledger.person("ada").use("memory") as use:
            assert (use.block, use.status) == ("", "unavailable")
            use.replied("a-reply-without-facts")
        assert time.monotonic() - begun < 3.0
        assert isinstance(use.problem, UnavailableError)
        assert "gave no answer" in use.says
        assert "ada" not in caplog.text
        with pytest.raises(UnavailableError), ledger.person("ada").use("memory", strict=True):
            pass


def test_a_mistake_means_an_empty_block_and_is_raised_on_request(
    person: sayso.Person, caplog: pytest.LogCaptureFixture
) -> None:
    consenting(person)
    with person.use("memmory") as use:
        assert (use.block, use.status) == ("", "unavailable")
    assert isinstance(use.problem, InvalidRequestError)
    assert "INVALID_REQUEST" in caplog.text
    with pytest.raises(InvalidRequestError), person.use("memmory", strict=True):
        pass
    with person.use("memory", ttl=float("nan")) as use:
        assert use.status == "unavailable"


def test_a_renderer_that_fails_means_an_empty_block(daemon: Daemon, person: sayso.Person) -> None:
    consenting(person)

    def broken(_facts: object) -> str:
        raise KeyError("template")

    with (
        sayso.Ledger(data=daemon.data, renderer=broken) as ledger,
        ledger.person(person.id).use("memory") as use,
    ):
        assert (use.block, use.facts, use.status) == ("", (), "unavailable")


def test_a_report_that_fails_is_said_and_can_be_repeated(own_daemon: Daemon) -> None:
    with sayso.Ledger(data=own_daemon.data, timeout=0.5, reply_timeout=0.5) as ledger:
        person = consenting(ledger.person("ada"))
        with person.use("memory") as use:
            assert use.block
            use.replied("reply-1")
            own_daemon.stop()
            assert not use.check()
            assert use.block == ""
        assert (use.reported, use.valid) == (False, None)
        assert isinstance(use.problem, UnavailableError)
        own_daemon.start()
        until = time.monotonic() + 10
        while not use.report() and time.monotonic() < until:
            time.sleep(0.1)
        assert use.report()
        assert person.why(reply="reply-1").replies == ("reply-1",)


def test_a_wrong_credential_is_said(daemon: Daemon) -> None:
    with sayso.Ledger(daemon.address, token="wrong") as ledger, ledger.person("ada").use("memory") as use:
        assert use.block == ""
    assert isinstance(use.problem, CredentialError)


def test_an_error_of_the_body_is_not_hidden_by_one_of_the_report(own_daemon: Daemon) -> None:
    with sayso.Ledger(data=own_daemon.data, timeout=0.3, reply_timeout=0.3) as ledger:
        person = consenting(ledger.person("ada"))
        with pytest.raises(ZeroDivisionError), person.use("memory", strict=True) as use:
            assert use.block
            use.replied("reply-1")
            own_daemon.stop()
            raise ZeroDivisionError
        assert use.problem is not None


def test_a_use_about_a_text_has_only_the_facts_that_fit_it_the_best_first(person: sayso.Person) -> None:
    person.remember("pet", "has a black cat, a cat lover", category="preference")
    person.remember("flat", "the cat sleeps in the kitchen of the flat", category="location")
    person.remember("job", "works as a nurse", category="work")
    person.say_yes("memory", notice="welcome")
    for chat in ("", "chat-1"):
        with person.use("memory", chat=chat, about="Which cat?", top_k=2) as use:
            assert [fact.key for fact in use.facts] == ["pet", "flat"]
            scores = [fact.score or 0.0 for fact in use.facts]
            assert scores[0] > scores[1] > 0.0
    with person.use("memory", chat="chat-1", about="the nurse") as other:
        assert [fact.key for fact in other.facts] == ["job"]
        assert other.grant_id != use.grant_id
    with person.use("memory") as plain:
        assert [fact.score for fact in plain.facts] == [None] * 3


def test_facts_are_found_by_vectors_of_the_same_model(person: sayso.Person) -> None:
    for key, values in (("east", (1.0, 0.0)), ("north", (0.0, 1.0))):
        vector = sayso.Embedding("m1", values)
        assert person.remember_all([sayso.Fact(key, "x", category="preference", embedding=vector)])
    person.remember("none", "x", category="preference")
    person.say_yes("memory", notice="welcome")
    with person.use("memory", embedding=sayso.Embedding("m1", (2.0, 0.1)), top_k=1) as use:
        assert [fact.key for fact in use.facts] == ["east"]
    with person.use("memory", embedding=sayso.Embedding("m2", (2.0, 0.1))) as other:
        assert other.status == "nothing_allowed"
