"""Makes the calls of a ledger, for code with asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import grpc

from sayso._defaults import AsyncExtractor, Defaults
from sayso._open_uses import OpenUses
from sayso._operations import Operation, Page
from sayso._replies import ReplyIndex
from sayso._rpc_errors import error_of
from sayso._settings import Settings
from sayso.errors import CredentialError

__all__ = ["Caller"]

A = TypeVar("A")


class Caller:
    """A channel to a daemon, and what the calls over it have in common. It belongs to one event loop."""

    def __init__(self, settings: Settings, defaults: Defaults[AsyncExtractor]) -> None:
        self._settings = settings
        self.defaults = defaults
        self.replies = ReplyIndex()
        self.open_uses = OpenUses()
        self._calls: dict[str, Any] = {}
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel. It is made when it is first used, because it belongs to the event loop that runs then."""
        if self._channel is None:
            options = self._settings.channel_options()
            self._channel = (
                grpc.aio.insecure_channel(self._settings.target, options)
                if self._settings.tls is None
                else grpc.aio.secure_channel(self._settings.target, self._settings.tls, options)
            )
        return self._channel

    async def close(self) -> None:
        """Closes the channel, if there is one."""
        if self._channel is not None:
            await self._channel.close()

    async def run(self, operation: Operation[A], timeout: float | None = None) -> A:
        """Makes a call. If the credential is refused and there is a newer one by now, tries once more with that."""
        call = self._calls.get(operation.path)
        if call is None:
            call = self._calls[operation.path] = self.channel.unary_unary(
                operation.path,
                request_serializer=type(operation.request).SerializeToString,
                response_deserializer=operation.answer.FromString,
            )
        metadata = self._settings.metadata()
        deadline = self.defaults.timeout if timeout is None else timeout
        try:
            answer = await call(operation.request, timeout=deadline, metadata=metadata)
        except grpc.RpcError as error:
            refused = error_of(error)
            newer = self._settings.metadata() if isinstance(refused, CredentialError) else metadata
            if newer == metadata:
                raise refused from error
            try:
                answer = await call(operation.request, timeout=deadline, metadata=newer)
            except grpc.RpcError as again:
                raise error_of(again) from again
        return operation.read(answer)

    def open(self, operation: Operation[A], timeout: float | None) -> Any:
        """Opens a stream of answers."""
        call = self.channel.unary_stream(
            operation.path,
            request_serializer=type(operation.request).SerializeToString,
            response_deserializer=operation.answer.FromString,
        )
        return call(operation.request, timeout=timeout, metadata=self._settings.metadata())

    async def pages(self, page: Callable[[str], Operation[Page[A]]]) -> AsyncIterator[A]:
        token = ""
        while True:
            found = await self.run(page(token))
            for item in found.items:
                yield item
            token = found.next_token
            if not token:
                return
