"""Puts what may be used about a person into the messages of an OpenAI-compatible client, and reports each reply.

    client = sayso.openai.wrap(openai.OpenAI(), sayso.Ledger(), purpose="memory")
    completion = client.chat.completions.create(person="ada", chat="chat-4", model="…", messages=[…])

The wrapped `chat.completions.create` takes two more arguments: `person`, and `chat`, the name of the conversation. It
appends the block to the first system message, makes the reply, checks the grant again, and reports the use with the id
of the completion. Everything else of the client stays as it is, and calls without `person` get no personal data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, overload

from sayso import aio
from sayso._use import UseState
from sayso.client import Ledger, Use

__all__ = ["AsyncReplyStream", "ReplyStream", "with_block", "wrap"]

OnUse = Callable[[UseState], object]
"""Is called with the state of each use, once the reply was made and reported."""
_TRIES_MAX = 2


@overload
def wrap(client: Any, ledger: Ledger, *, purpose: str = "memory", on_use: OnUse | None = None) -> Any: ...
@overload
def wrap(client: Any, ledger: aio.Ledger, *, purpose: str = "memory", on_use: OnUse | None = None) -> Any: ...
def wrap(client: Any, ledger: Ledger | aio.Ledger, *, purpose: str = "memory", on_use: OnUse | None = None) -> Any:
    """Wraps an `openai.OpenAI` with a `sayso.Ledger`, or an `openai.AsyncOpenAI` with a `sayso.aio.Ledger`.

    If a grant ends while the model writes the reply, or if the check fails, that reply is not returned: another one is
    made with what may be used by then, and at last one without any personal data. A reply that is streamed cannot be
    taken back, so there `on_use` has to look at `valid`.
    """
    create: Callable[..., Any] = (
        _Create(client, ledger, purpose, on_use)
        if isinstance(ledger, Ledger)
        else _AsyncCreate(client, ledger, purpose, on_use)
    )
    return _Replaced(client, {"chat": _Replaced(client.chat, {"completions": _Completions(client, create)})})


def with_block(messages: Iterable[Any], block: str) -> list[Any]:
    """Returns the messages with the block at the end of the first one, if that is a system message, or before it.

    The given messages are not changed. An empty block adds nothing.
    """
    if not block:
        return list(messages)
    copies = list(messages)
    first = copies[0] if copies else None
    if not isinstance(first, Mapping) or first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": block}, *copies]
    content = first.get("content") or ""
    if isinstance(content, str):
        joined: Any = f"{content}\n\n{block}" if content else block
    else:
        joined = [*content, {"type": "text", "text": block}]
    return [{**first, "content": joined}, *copies[1:]]


class _Replaced:
    """An object some of whose attributes are replaced."""

    def __init__(self, original: Any, replaced: Mapping[str, Any]) -> None:
        self._original, self._replaced = original, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else getattr(self._original, name)

    def __enter__(self) -> _Replaced:
        self._original.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._original.__exit__(*error)

    async def __aenter__(self) -> _Replaced:
        await self._original.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._original.__aexit__(*error)


class _Completions(_Replaced):
    """The completions, with another `create`."""

    def __init__(self, client: Any, create: Callable[..., Any]) -> None:
        super().__init__(client.chat.completions, {"create": create})


class _Create:
    """Makes a reply, for code without asyncio."""

    def __init__(self, client: Any, ledger: Ledger, purpose: str, on_use: OnUse | None) -> None:
        self._create = client.chat.completions.create
        self._ledger, self._purpose, self._on_use = ledger, purpose, on_use

    def __call__(self, *, messages: Iterable[Any], person: str = "", chat: str = "", **arguments: Any) -> Any:
        """Makes a reply, with what may be used about the person."""
        messages = list(messages)
        if person and arguments.get("stream"):
            return self._stream(messages, self._ledger.person(person).use(self._purpose, chat=chat), arguments)
        for _ in range(_TRIES_MAX if person else 0):
            with self._ledger.person(person).use(self._purpose, chat=chat) as use:
                block = use.block
                completion = self._create(messages=with_block(messages, block), **arguments)
                if block:
                    use.replied(completion.id or use.reply)
            if self._on_use is not None:
                self._on_use(use)
            if not block or use.valid:
                return completion
        return self._create(messages=messages, **arguments)

    def _stream(self, messages: list[Any], use: Use, arguments: Mapping[str, Any]) -> ReplyStream:
        use.__enter__()
        try:
            stream = self._create(messages=with_block(messages, use.block), **arguments)
        except BaseException as error:
            use.__exit__(type(error), error, None)
            raise
        return ReplyStream(stream, use, self._on_use)


class _AsyncCreate:
    """Makes a reply, for code with asyncio."""

    def __init__(self, client: Any, ledger: aio.Ledger, purpose: str, on_use: OnUse | None) -> None:
        self._create = client.chat.completions.create
        self._ledger, self._purpose, self._on_use = ledger, purpose, on_use

    async def __call__(self, *, messages: Iterable[Any], person: str = "", chat: str = "", **arguments: Any) -> Any:
        """Makes a reply, with what may be used about the person."""
        messages = list(messages)
        if person and arguments.get("stream"):
            return await self._stream(messages, self._ledger.person(person).use(self._purpose, chat=chat), arguments)
        for _ in range(_TRIES_MAX if person else 0):
            async with self._ledger.person(person).use(self._purpose, chat=chat) as use:
                block = use.block
                completion = await self._create(messages=with_block(messages, block), **arguments)
                if block:
                    use.replied(completion.id or use.reply)
            if self._on_use is not None:
                self._on_use(use)
            if not block or use.valid:
                return completion
        return await self._create(messages=messages, **arguments)

    async def _stream(self, messages: list[Any], use: aio.Use, arguments: Mapping[str, Any]) -> AsyncReplyStream:
        await use.__aenter__()
        try:
            stream = await self._create(messages=with_block(messages, use.block), **arguments)
        except BaseException as error:
            await use.__aexit__(type(error), error, None)
            raise
        return AsyncReplyStream(stream, use, self._on_use)


class ReplyStream:
    """A reply in parts. Its use is reported when it ends or is closed, so close it, or use `with`."""

    def __init__(self, stream: Any, use: Use, on_use: OnUse | None) -> None:
        self._stream, self._on_use, self._is_open = stream, on_use, True
        self.use = use
        self._is_personal = bool(use)

    def __iter__(self) -> Iterator[Any]:
        try:
            for part in self._stream:
                if self._is_personal and part.id:
                    self._is_personal = False
                    self.use.replied(part.id)
                yield part
        finally:
            self.close()

    def close(self) -> None:
        """Ends the stream, checks the grant again and reports the use."""
        if self._is_open:
            self._is_open = False
            self._stream.close()
            self.use.__exit__(None, None, None)
            if self._on_use is not None:
                self._on_use(self.use)

    def __enter__(self) -> ReplyStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncReplyStream:
    """A reply in parts, for code with asyncio. Close it, or use `async with`, so that its use is reported."""

    def __init__(self, stream: Any, use: aio.Use, on_use: OnUse | None) -> None:
        self._stream, self._on_use, self._is_open = stream, on_use, True
        self.use = use
        self._is_personal = bool(use)

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for part in self._stream:
                if self._is_personal and part.id:
                    self._is_personal = False
                    self.use.replied(part.id)
                yield part
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the stream, checks the grant again and reports the use."""
        if self._is_open:
            self._is_open = False
            await self._stream.close()
            await self.use.__aexit__(None, None, None)
            if self._on_use is not None:
                self._on_use(self.use)

    async def __aenter__(self) -> AsyncReplyStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
