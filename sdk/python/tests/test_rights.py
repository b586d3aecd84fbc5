"""The person's rights: erasure, export, and who may list what."""

from __future__ import annotations

import json
import stat
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from daemon import Daemon, run

import sayso
from sayso.errors import ErasedError, InvalidRequestError, NotAllowedError, NotFoundError, RefusedByPersonError


def test_an_erasure_destroys_the_record_and_leaves_a_certificate(
    daemon: Daemon, person: sayso.Person, steward: sayso.Ledger, tmp_path: Path
) -> None:
    person.remember("job", "nurse", category="work")
    person.say_yes("memory", notice="welcome")
    with person.use("memory") as use:
        assert use.block
        use.replied("reply-1")
    erasure = steward.person(person.id).erase()
    assert erasure
    assert (erasure.state, erasure.erased_by_category) == ("completed", {"work": 1})
    certificate = tmp_path / "certificate"
    certificate.write_text(erasure.certificate)
    key = daemon.data / "dev" / "log.vkey"
    assert "verified" in run("verify", certificate, "--key", key)
    with person.use("memory") as after:
        assert (after.block, after.status) == ("", "unknown_person")
    with pytest.raises(ErasedError):
        person.why(reply="reply-1")


def test_a_part_can_be_erased(person: sayso.Person, steward: sayso.Ledger) -> None:
    person.remember_all([sayso.Fact("job", "nurse", "work"), sayso.Fact("city", "Bern", "location")])
    assert steward.person(person.id).erase("key", key="job").erased_by_category == {"work": 1}
    assert [fact.key for fact in steward.person(person.id).profile()] == ["city"]
    assert steward.person(person.id).erase("category", category="location")
    assert list(steward.person(person.id).profile()) == []


def test_a_service_cannot_erase_or_list_uses(person: sayso.Person) -> None:
    with pytest.raises(NotAllowedError):
        person.erase()
    with pytest.raises(NotAllowedError):
        list(person.uses())


def test_why_needs_a_reply_or_a_grant(ledger: sayso.Ledger, person: sayso.Person) -> None:
    for ask in (person.why, ledger.why):
        with pytest.raises(InvalidRequestError, match="give a reply or a grant"):
            ask()


def test_an_export_is_a_file_that_only_its_owner_may_read(
    person: sayso.Person, steward: sayso.Ledger, tmp_path: Path
) -> None:
    person.remember("job", "nurse", category="work")
    target = tmp_path / "ada.zip"
    size = steward.person(person.id).export(target)
    assert (target.stat().st_size, stat.S_IMODE(target.stat().st_mode)) == (size, 0o600)
    with zipfile.ZipFile(target) as package:
        assert "nurse" in json.dumps(json.loads(package.read("package.json")))
    other = tmp_path / "other.zip"
    with pytest.raises(NotFoundError):
        steward.person("nobody-at-all").export(other)
    assert list(tmp_path.iterdir()) == [target]


def test_uses_are_listed_by_time_and_recipient(person: sayso.Person, steward: sayso.Ledger) -> None:
    person.remember("job", "nurse", category="work")
    person.say_yes("memory", notice="welcome")
    with person.use("memory", chat="chat-1") as use:
        assert use.block
        use.replied("reply-1")
    files = steward.person(person.id)
    assert [(found.kind, found.reply, found.keys) for found in files.uses(recipient="dev-service-channel")] == [
        ("granted", "", ("job",)),
        ("reported", "reply-1", ("job",)),
    ]
    # The grant is still valid then, and nothing is reported. Later, it has expired.
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    assert [found.kind for found in files.uses(since=later)] == ["granted"]
    assert list(files.uses(since=later + timedelta(days=2))) == []
    assert len(list(files.uses(until=later))) == 2
    with pytest.raises(ValueError, match="time zone"):
        list(files.uses(since=datetime(2026, 1, 1)))


def test_a_no_with_the_persons_own_credential_stands(daemon: Daemon, person: sayso.Person) -> None:
    person.remember("job", "nurse", category="work")
    token = daemon.token("--role", "subject", "--subject", person.id)
    with sayso.Ledger(daemon.address, token=token) as own:
        own.person(person.id).say_no("memory")
    with pytest.raises(RefusedByPersonError) as raised:
        person.say_yes("memory", notice="welcome")
    assert raised.value.reason == "REFUSED_BY_SUBJECT"
    with person.use("memory") as use:
        assert use.block == ""


def test_a_service_may_record_a_no_but_not_a_yes(daemon: Daemon, person: sayso.Person) -> None:
    with daemon.ledger("service") as service:
        with pytest.raises(NotAllowedError) as raised:
            service.person(person.id).say_yes("memory", notice="welcome")
        assert raised.value.reason == "CHANNEL_ROLE_REQUIRED"
        assert service.person(person.id).say_no("memory").receipt.positions


def test_a_consent_needs_a_published_notice(person: sayso.Person) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        person.say_yes("memory", notice="never-published")
    assert raised.value.detail.violations[0][0] == "notice"
    assert raised.value.detail.request_id


def test_a_withdrawal_for_a_mistyped_person_says_that_it_matches_nothing(person: sayso.Person) -> None:
    assert "subject" in person.withdraw("memory").unmatched
