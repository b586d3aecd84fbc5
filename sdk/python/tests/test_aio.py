"""The asynchronous ledger: the same shape as the other one, and the same answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon import Daemon

import sayso
import sayso.aio
from sayso import Fact
from sayso.errors import NotAllowedError, NotFoundError, UnavailableError


@pytest.fixture
async def service(daemon: Daemon) -> AsyncIterator[sayso.aio.Ledger]:
    async with sayso.aio.Ledger(data=daemon.data) as connected:
        yield connected


@pytest.fixture
async def files(daemon: Daemon) -> AsyncIterator[sayso.aio.Ledger]:
    async with sayso.aio.Ledger(data=daemon.data, role="steward") as connected:
        yield connected


@pytest.mark.parametrize("name", ["Ledger", "Person", "Use", "Watch"])
def test_both_flavors_have_the_same_methods_with_the_same_parameters(name: str) -> None:
    one, other = getattr(sayso, name), getattr(sayso.aio, name)
    assert (one.__doc__ or "").split()[:3] == (other.__doc__ or "").split()[:3]
    public = [method for method in dir(one) if not method.startswith("_")]
    assert public == [method for method in dir(other) if not method.startswith("_")]
    for method in public:
        ours, theirs = (inspect.getattr_static(kind, method) for kind in (one, other))
        if inspect.isfunction(ours):
            names = [list(inspect.signature(function).parameters) for function in (ours, theirs)]
            if (name, method) != ("Watch", "stop"):
                assert names[0] == names[1], method


async def test_from_the_first_fact_to_the_erasure(
    service: sayso.aio.Ledger, files: sayso.aio.Ledger, tmp_path: Path
) -> None:
    person, file = service.person("async-ada"), files.person("async-ada")
    became = await person.remember_all(
        [Fact("tone", "brief", "communication-style"), Fact("pet", "cat", "no-such-category")]
    )
    assert [found.outcome for found in became] == ["recorded", "refused"]
    async with person.use("memory", chat="chat-1") as use:
        assert (use.block, use.withheld[0].reason) == ("", "no_consent")
    await person.say_yes("memory", notice="welcome")
    async with person.use("memory", chat="chat-1") as use:
        assert '"brief"' in use.block
        use.replied("async-reply-1")
    assert (use.reported, use.valid) == (True, True)
    async with person.use("memory", chat="chat-1") as use:
        assert use.block
        use.replied("async-reply-2")
        await person.withdraw("memory")
        assert use.block == ""
    assert (use.reported, use.valid, use.ended_because) == (True, False, "consent_withdrawn")
    async with person.use("memory", chat="chat-1") as use:
        assert use.block == ""
    assert (await person.why(reply="async-reply-2")).replies == ("async-reply-1", "async-reply-2")
    assert (await file.why(reply="async-reply-1")).allowed == ("tone",)
    assert [found.reply async for found in file.uses() if found.kind == "reported"] == [
        "async-reply-1",
        "async-reply-2",
    ]
    assert [fact.key async for fact in file.profile()] == ["tone"]
    assert [consent.decision async for consent in person.consents()] == ["given", "withdrawn"]
    target = tmp_path / "ada.zip"
    assert await file.export(target) == target.stat().st_size
    assert await file.erase()
    with pytest.raises(NotFoundError):
        await file.export(tmp_path / "gone.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["ada.zip"]


async def test_an_extractor_may_be_a_coroutine_function_or_not(service: sayso.aio.Ledger) -> None:
    async def extract(text: str) -> list[Fact]:
        await asyncio.sleep(0)
        return [Fact("job", text, "work")]

    person = service.person("async-ben")
    assert all(await person.remember_from("nurse", extractor=extract))
    assert all(await person.remember_from("nurse", extractor=lambda text: [Fact("job", text, "work")]))


async def test_it_fails_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with sayso.aio.Ledger("http://127.0.0.1:9", token="none", reply_timeout=0.5) as ledger:
        async with ledger.person("ada").use("memory") as use:
            assert (use.block, use.status) == ("", "unavailable")
        assert isinstance(use.problem, UnavailableError)
        assert "ada" not in caplog.text
        with pytest.raises(UnavailableError):
            async with ledger.person("ada").use("memory", strict=True):
                pass


async def test_many_uses_at_once(service: sayso.aio.Ledger) -> None:
    person = service.person("async-cid")
    await person.remember("job", "nurse", category="work")
    await person.say_yes("memory", notice="welcome")

    async def reply(number: int) -> bool:
        async with person.use("memory", chat=f"chat-{number % 5}") as use:
            assert use.block
            use.replied(f"async-many-{number}")
        return use.reported

    assert all(await asyncio.gather(*map(reply, range(50))))


async def test_errors_have_their_reason(service: sayso.aio.Ledger) -> None:
    with pytest.raises(NotAllowedError) as raised:
        await service.person("async-ada").erase()
    assert raised.value.reason == "ROLE_NOT_ALLOWED"
    assert raised.value.detail.request_id
    async with service.person("async-ada").use("memory", ttl=-1) as use:
        assert use.status == "unavailable"
    assert not await use.check()
