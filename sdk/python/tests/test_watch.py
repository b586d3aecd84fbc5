"""Watching revocations: acknowledged after the callback, and nothing is missed across restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import Daemon

import sayso
import sayso.aio
from sayso.errors import CursorError, InvalidRequestError, NotAllowedError
from sayso.v1 import rights_pb2, rights_pb2_grpc


@pytest.fixture
def service(daemon: Daemon, request: pytest.FixtureRequest) -> sayso.Ledger:
    """A service that no other test knows, so it has a stream of revocations of its own."""
    return sayso.Ledger(daemon.address, token=daemon.token("--role", "service-channel", "--name", request.node.name))


def granted(ledger: sayso.Ledger, name: str) -> str:
    """Lets a service use a fact about a person, and returns the grant."""
    person = ledger.person(name)
    person.remember("job", "nurse", category="work")
    person.say_yes("memory", notice="welcome")
    with person.use("memory") as use:
        assert use.block
    return use.grant_id


def wait(condition: Callable[[], object]) -> None:
    """Waits until something is so."""
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_acknowledged(daemon: Daemon, request_id: str, name: str) -> bool:
    """Whether the certificate of an erasure says that a recipient carried it out."""
    with daemon.ledger("steward") as steward:
        stub = rights_pb2_grpc.RightsServiceStub(steward.channel)
        request = rights_pb2.GetErasureCertificateRequest(request_id=request_id)
        certificate = stub.GetErasureCertificate(request, metadata=steward._caller._settings.metadata()).certificate
    return any(found.name == name and found.acknowledged for found in certificate.recipients)


def test_a_revocation_is_acknowledged_after_the_callback_only(
    daemon: Daemon, service: sayso.Ledger, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    grant = granted(service, name)
    seen: list[sayso.Revocation] = []
    failures: list[Exception] = []

    def delete_copies(revocation: sayso.Revocation) -> None:
        seen.append(revocation)
        if len(seen) == 1:
            raise OSError("the vector store is away")

    store = sayso.FileCursor(tmp_path / "cursor")
    with (
        daemon.ledger("steward") as steward,
        service.on_revoked(delete_copies, cursor_store=store, on_error=failures.append) as watch,
    ):
        assert watch.wait_started()
        erasure = steward.person(name).erase()
        wait(lambda: len(seen) == 1)
        assert not is_acknowledged(daemon, erasure.request_id, name)
        wait(lambda: is_acknowledged(daemon, erasure.request_id, name))
    assert [revocation.grant_ids for revocation in seen] == [(grant,), (grant,)]
    assert (seen[0].reason, seen[0].erased_scope) == ("erased", "all")
    assert [type(failure) for failure in failures] == [OSError]
    assert store.load() == seen[0].cursor


def test_nothing_is_missed_or_repeated_across_restarts_of_both_sides(own_daemon: Daemon, tmp_path: Path) -> None:
    store = sayso.FileCursor(tmp_path / "cursor")
    seen: list[str] = []

    def callback(revocation: sayso.Revocation) -> None:
        seen.extend(revocation.grant_ids)

    with own_daemon.ledger() as ledger:
        grants = [granted(ledger, f"person-{number}") for number in range(4)]
        ledger.person("person-0").withdraw()
        # An empty store starts at the beginning.
        with ledger.on_revoked(callback, cursor_store=store) as watch:
            wait(lambda: seen == grants[:1])
            own_daemon.stop()
            own_daemon.start()
            ledger.person("person-1").withdraw()
            wait(lambda: seen == grants[:2])
            assert watch.alive
        ledger.person("person-2").withdraw()
    own_daemon.stop()
    own_daemon.start()
    with own_daemon.ledger() as ledger, ledger.on_revoked(callback, cursor_store=sayso.FileCursor(tmp_path / "cursor")):
        wait(lambda: seen == grants[:3])
        ledger.person("person-3").withdraw()
        wait(lambda: seen == grants)


def test_without_a_store_a_watch_starts_now_and_ends_uses_at_once(service: sayso.Ledger, daemon: Daemon) -> None:
    seen: list[str] = []
    granted(service, "ada-watch")
    service.person("ada-watch").withdraw()
    grant = granted(service, "ada-watch")
    with service.on_revoked(lambda revocation: seen.extend(revocation.grant_ids)) as watch:
        assert watch.wait_started()
        with service.person("ada-watch").use("memory") as use, daemon.ledger("channel") as elsewhere:
            assert use.block
            elsewhere.person("ada-watch").withdraw()
            wait(lambda: use.status == "ended")
            assert (use.block, use.ended_because) == ("", "consent_withdrawn")
        wait(lambda: len(seen) == 2)
    assert set(seen) == {grant, use.grant_id}


def test_a_watch_that_cannot_work_ends_and_says_why(daemon: Daemon, service: sayso.Ledger, tmp_path: Path) -> None:
    with daemon.ledger("steward") as steward, steward.on_revoked(print) as watch:
        wait(lambda: not watch.alive)
        assert isinstance(watch.error, NotAllowedError)
    store = sayso.FileCursor(tmp_path / "cursor")
    store.save(10**9)
    with service.on_revoked(print, cursor_store=store) as watch:
        wait(lambda: not watch.alive)
        assert isinstance(watch.error, InvalidRequestError)


async def test_the_same_with_asyncio(daemon: Daemon, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name = request.node.name
    token = daemon.token("--role", "service-channel", "--name", name)
    store = sayso.FileCursor(tmp_path / "cursor")
    seen: list[str] = []
    failures: list[Exception] = []
    async with sayso.aio.Ledger(daemon.address, token=token) as ledger:
        person = ledger.person(name)
        grants = []

        async def callback(revocation: sayso.Revocation) -> None:
            await asyncio.sleep(0)
            seen.extend(revocation.grant_ids)
            if len(seen) == 1:
                raise OSError("the vector store is away")

        await person.remember("job", "nurse", category="work")
        async with ledger.on_revoked(callback, cursor_store=store, on_error=failures.append) as watch:
            assert await watch.wait_started()
            for _ in range(2):
                await person.say_yes("memory", notice="welcome")
                async with person.use("memory") as use:
                    assert use.block
                    grants.append(use.grant_id)
                await person.withdraw()
            until = time.monotonic() + 15
            while seen != [grants[0], *grants] and time.monotonic() < until:
                await asyncio.sleep(0.02)
            assert watch.alive
    assert seen == [grants[0], *grants]
    assert [type(failure) for failure in failures] == [OSError]


def test_a_file_of_a_cursor_is_whole_or_refused(tmp_path: Path) -> None:
    store = sayso.FileCursor(tmp_path / "cursor")
    assert store.load() is None
    store.save(17)
    store.save(2**63)
    assert sayso.FileCursor(tmp_path / "cursor").load() == 2**63
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]
    for damaged in (b"", b"17", b"-1\n", b"1" * 64 + b"\n", b"\xff\n"):
        store.path.write_bytes(damaged)
        with pytest.raises(CursorError):
            store.load()
    with pytest.raises(CursorError):
        sayso.FileCursor(tmp_path / "missing" / "cursor").save(1)
    with pytest.raises(CursorError):
        sayso.FileCursor(tmp_path).load()
