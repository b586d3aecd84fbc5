"""The wrapper of OpenAI-compatible clients: the real client against a server that speaks the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from daemon import Daemon
from model_server import ModelServer

import sayso
import sayso.aio
from sayso._use import UseState
from sayso.openai import with_block, wrap

QUESTION = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.stop()


@pytest.fixture
def uses() -> list[UseState]:
    return []


@pytest.fixture
def client(model: ModelServer, ledger: sayso.Ledger, uses: list[UseState]) -> Iterator[Any]:
    with wrap(openai.OpenAI(base_url=model.url, api_key="k", max_retries=0), ledger, on_use=uses.append) as wrapped:
        yield wrapped


@pytest.fixture
def ada(person: sayso.Person) -> sayso.Person:
    person.remember("tone", "brief and dry", category="communication-style")
    person.say_yes("memory", notice="welcome")
    return person


def test_a_reply_has_the_block_and_is_reported_by_its_own_id(
    client: Any, model: ModelServer, ada: sayso.Person, uses: list[UseState]
) -> None:
    completion = client.chat.completions.create(person=ada.id, chat="chat-1", model="m", messages=QUESTION)
    assert completion.choices[0].message.content == "reply 1"
    (request,) = model.requests
    assert set(request) == {"model", "messages"}
    assert request["messages"][0]["content"].startswith("Be kind.\n\nWhat you may use about the person")
    assert '"tone": "brief and dry"' in request["messages"][0]["content"]
    assert request["messages"][1:] == QUESTION[1:]
    assert (uses[0].reply, uses[0].reported, uses[0].valid) == ("cmpl-1", True, True)
    assert ada.why(reply="cmpl-1").grant_id == uses[0].grant_id
    assert QUESTION[0] == {"role": "system", "content": "Be kind."}


def test_without_consent_or_person_the_prompt_stays_as_it_is(
    client: Any, model: ModelServer, ada: sayso.Person, uses: list[UseState]
) -> None:
    ada.withdraw("memory")
    client.chat.completions.create(person=ada.id, model="m", messages=QUESTION)
    client.chat.completions.create(model="m", messages=QUESTION)
    assert [request["messages"] for request in model.requests] == [QUESTION, QUESTION]
    assert [use.reported for use in uses] == [False]


def test_a_withdrawal_while_the_model_writes_leads_to_a_reply_without_the_facts(
    client: Any, model: ModelServer, ada: sayso.Person, uses: list[UseState]
) -> None:
    model.before_reply = lambda: ada.withdraw("memory")
    completion = client.chat.completions.create(person=ada.id, model="m", messages=QUESTION)
    assert completion.id == "cmpl-2"
    assert ["brief and dry" in prompt for prompt in model.prompts()] == [True, False]
    # The model did see the facts for the first reply, so that use is reported.
    assert [(use.status, use.reported, use.valid) for use in uses] == [
        ("ended", True, False),
        ("nothing_allowed", False, None),
    ]
    assert uses[0].reply == "cmpl-1"


def test_if_grants_keep_ending_the_last_reply_has_no_personal_data(
    client: Any, model: ModelServer, ada: sayso.Person
) -> None:
    def change() -> None:
        ada.remember("tone", f"tone {len(model.requests)}", category="communication-style")

    model.before_reply = change
    assert client.chat.completions.create(person=ada.id, model="m", messages=QUESTION).id == "cmpl-3"
    assert ['"tone"' in prompt.replace("\\", "") for prompt in model.prompts()] == [True, True, False]


def test_a_ledger_that_cannot_be_reached_does_not_stop_the_reply(model: ModelServer) -> None:
    uses: list[UseState] = []
    with sayso.Ledger("http://127.0.0.1:9", token="none", reply_timeout=0.3) as nowhere:
        client = wrap(openai.OpenAI(base_url=model.url, api_key="k"), nowhere, on_use=uses.append)
        assert client.chat.completions.create(person="ada", model="m", messages=QUESTION).id == "cmpl-1"
    assert model.requests[0]["messages"] == QUESTION
    assert uses[0].status == "unavailable"


def test_a_stream_is_reported_when_it_ends_or_is_closed(
    client: Any, ada: sayso.Person, uses: list[UseState], model: ModelServer
) -> None:
    stream = client.chat.completions.create(person=ada.id, model="m", messages=QUESTION, stream=True)
    assert "".join(part.choices[0].delta.content for part in stream) == "reply"
    with client.chat.completions.create(person=ada.id, model="m", messages=QUESTION, stream=True) as half:
        next(iter(half))
    with client.chat.completions.create(person=ada.id, model="m", messages=QUESTION, stream=True):
        pass
    assert [use.reported for use in uses] == [True, True, True]
    assert [use.reply for use in uses[:2]] == ["cmpl-1", "cmpl-2"]
    ada.withdraw()
    assert list(client.chat.completions.create(person=ada.id, model="m", messages=QUESTION, stream=True))
    assert ["brief and dry" in prompt for prompt in model.prompts()] == [True, True, True, False]
    assert not uses[-1].reported


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_is_no_reply(
    stream: bool, client: Any, ada: sayso.Person, model: ModelServer, steward: sayso.Ledger
) -> None:
    model.status = 500
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(person=ada.id, model="m", messages=QUESTION, stream=stream)
    assert [use.kind for use in steward.person(ada.id).uses()] == ["granted"]


def test_the_rest_of_the_client_stays_as_it_is(client: Any, model: ModelServer) -> None:
    assert str(client.base_url).startswith(model.url)
    assert client.chat.completions.with_raw_response.create(model="m", messages=QUESTION).parse().id == "cmpl-1"
    with pytest.raises(TypeError):
        client.chat.completions.parse(person="ada", model="m", messages=QUESTION)


async def test_the_same_with_asyncio(daemon: Daemon, model: ModelServer, ada: sayso.Person) -> None:
    uses: list[UseState] = []
    async with (
        sayso.aio.Ledger(data=daemon.data) as ledger,
        wrap(openai.AsyncOpenAI(base_url=model.url, api_key="k"), ledger, on_use=uses.append) as client,
    ):
        ask = client.chat.completions.create
        assert (await ask(person=ada.id, model="m", messages=QUESTION)).id == "cmpl-1"
        stream = await ask(person=ada.id, model="m", messages=QUESTION, stream=True)
        assert [part.id async for part in stream] == ["cmpl-2", "cmpl-2"]
        model.before_reply = lambda: ada.withdraw("memory")
        assert (await ask(person=ada.id, model="m", messages=QUESTION)).id == "cmpl-4"
    assert [(use.reply, use.reported, use.valid) for use in uses[:3]] == [
        ("cmpl-1", True, True),
        ("cmpl-2", True, True),
        ("cmpl-3", True, False),
    ]
    assert ["brief and dry" in prompt for prompt in model.prompts()] == [True, True, True, False]


def test_the_block_joins_the_first_system_message_of_any_shape() -> None:
    user = {"role": "user", "content": "Hello"}
    assert with_block([user], "B") == [{"role": "system", "content": "B"}, user]
    assert with_block([], "B") == [{"role": "system", "content": "B"}]
    assert with_block([{"role": "developer", "content": "D"}, user], "B")[0] == {
        "role": "developer",
        "content": "D\n\nB",
    }
    parts = [{"type": "text", "text": "S"}]
    assert with_block([{"role": "system", "content": parts}], "B")[0]["content"] == [
        *parts,
        {"type": "text", "text": "B"},
    ]
    assert with_block([user], "") == [user]
