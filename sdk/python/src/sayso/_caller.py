"""Makes the calls of a ledger, for code without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from sayso._defaults import Defaults, Extractor
from sayso._open_uses import OpenUses
from sayso._operations import Operation, Page
from sayso._replies import ReplyIndex
from sayso._rpc_errors import error_of
from sayso._settings import Settings
from sayso.errors import CredentialError

__all__ = ["Caller"]

A = TypeVar("A")


class Caller:
    """A channel to a daemon, and what the calls over it have in common. Threads may share it."""

    def __init__(self, settings: Settings, defaults: Defaults[Extractor]) -> None:
        self._settings = settings
        self.defaults = defaults
        self.replies = ReplyIndex()
        self.open_uses = OpenUses()
        self._calls: dict[str, Any] = {}
        options = settings.channel_options()
        self.channel: grpc.Channel = (
            grpc.insecure_channel(settings.target, options)
            if settings.tls is None
            else grpc.secure_channel(settings.target, settings.tls, options)
        )

    def run(self, operation: Operation[A], timeout: float | None = None) -> A:
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
            answer = call(operation.request, timeout=deadline, metadata=metadata)
        except grpc.RpcError as error:
            refused = error_of(error)
            newer = self._settings.metadata() if isinstance(refused, CredentialError) else metadata
            if newer == metadata:
                raise refused from error
            try:
                answer = call(operation.request, timeout=deadline, metadata=newer)
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

    def pages(self, page: Callable[[str], Operation[Page[A]]]) -> Iterator[A]:
        token = ""
        while True:
            found = self.run(page(token))
            yield from found.items
            token = found.next_token
            if not token:
                return
