"""A watch of revocations, for code without asyncio."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc

from sayso._caller import Caller
from sayso._rpc_errors import error_of
from sayso._watching import WatchState
from sayso.answers import Revocation

__all__ = ["Watch"]


class Watch:
    """A watch of revocations, in a thread of its own. It connects again by itself."""

    def __init__(
        self,
        caller: Caller,
        callback: Callable[[Revocation], object],
        state: WatchState,
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._caller, self._callback, self._state, self._on_error = caller, callback, state, on_error
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._lock = threading.Lock()
        self._call: Any = None
        self._thread = threading.Thread(target=self._work, name="sayso-watch", daemon=True)
        self._thread.start()

    @property
    def error(self) -> Exception | None:
        """Why the watch gave up, if it did."""
        return self._state.error

    @property
    def alive(self) -> bool:
        """Whether the watch is still running."""
        return self._thread.is_alive()

    def wait_started(self, timeout: float = 10.0) -> bool:
        """Waits until the ledger has confirmed the watch, and says whether it has."""
        return self._started.wait(timeout)

    def stop(self, timeout: float = 5.0) -> None:
        """Stops the watch, and waits for the callback that runs."""
        self._stopping.set()
        with self._lock:
            if self._call is not None:
                self._call.cancel()
        self._thread.join(timeout)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._receive()
            except Exception as problem:
                if self._stopping.is_set():
                    return
                wait = self._failed(problem)
                if wait is None:
                    return
                self._stopping.wait(wait)

    def _failed(self, problem: Exception) -> float | None:
        shown = error_of(problem) if isinstance(problem, grpc.RpcError) else problem
        if self._on_error is not None:
            self._on_error(shown)
        return self._state.failed(shown)

    def _receive(self) -> None:
        operation = self._state.open()
        with self._lock:
            if self._stopping.is_set():
                return
            self._call = self._caller.open(operation, None)
        is_first = True
        for answer in self._call:
            revocation = operation.read(answer)
            if is_first:
                is_first = False
                self._state.started(revocation)
                self._started.set()
                if not revocation.reason:
                    continue
            if revocation.is_suspension:
                self._caller.open_uses.suspended(revocation.reason)
            self._caller.open_uses.revoked(revocation.grant_ids, revocation.reason)
            self._callback(revocation)
            acknowledgment = self._state.acknowledge(revocation)
            if acknowledgment is not None:
                self._caller.run(acknowledgment)
            self._state.carried_out(revocation)
