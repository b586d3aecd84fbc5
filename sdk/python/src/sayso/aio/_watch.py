"""A watch of revocations, for code with asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc

from sayso._rpc_errors import error_of
from sayso._watching import WatchState
from sayso.aio._caller import Caller
from sayso.answers import Revocation

__all__ = ["Watch"]


class Watch:
    """A watch of revocations, in a task of its own. It connects again by itself."""

    def __init__(
        self,
        caller: Caller,
        callback: Callable[[Revocation], object],
        state: WatchState,
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._caller, self._callback, self._state, self._on_error = caller, callback, state, on_error
        self._started = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._work(), name="sayso-watch")

    @property
    def error(self) -> Exception | None:
        """Why the watch gave up, if it did."""
        return self._state.error

    @property
    def alive(self) -> bool:
        """Whether the watch is still running."""
        return not self._task.done()

    async def wait_started(self, timeout: float = 10.0) -> bool:
        """Waits until the ledger has confirmed the watch, and says whether it has."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._started.wait(), timeout)
        return self._started.is_set()

    async def stop(self) -> None:
        """Stops the watch. A callback that runs is canceled, and its revocation is delivered again later."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _work(self) -> None:
        while True:
            try:
                await self._receive()
            except Exception as problem:
                wait = await self._failed(problem)
                if wait is None:
                    return
                await asyncio.sleep(wait)

    async def _failed(self, problem: Exception) -> float | None:
        shown = error_of(problem) if isinstance(problem, grpc.RpcError) else problem
        if self._on_error is not None:
            await _finished(self._on_error(shown))
        return self._state.failed(shown)

    async def _receive(self) -> None:
        # The store may write a file and wait for the disk.
        operation = await asyncio.to_thread(self._state.open)
        is_first = True
        async for answer in self._caller.open(operation, None):
            revocation = operation.read(answer)
            if is_first:
                is_first = False
                await asyncio.to_thread(self._state.started, revocation)
                self._started.set()
                if not revocation.reason:
                    continue
            if revocation.is_suspension:
                self._caller.open_uses.suspended(revocation.reason)
            self._caller.open_uses.revoked(revocation.grant_ids, revocation.reason)
            await _finished(self._callback(revocation))
            acknowledgment = self._state.acknowledge(revocation)
            if acknowledgment is not None:
                await self._caller.run(acknowledgment)
            await asyncio.to_thread(self._state.carried_out, revocation)


async def _finished(result: Any) -> None:
    """Waits for what a callback returned, if it is to be waited for."""
    if inspect.isawaitable(result):
        await result
