"""Watching revocations: where to resume, what to acknowledge, and when to give up. The calls are elsewhere."""

from __future__ import annotations

import logging
import random

from sayso import _operations as operations
from sayso.answers import Receipt, Revocation
from sayso.cursor import CursorStore, MemoryCursor
from sayso.errors import ConfigurationError, InvalidRequestError, NotAllowedError, SaysoError

__all__ = ["WatchState"]

_BACKOFF_FIRST_S = 0.2
_BACKOFF_MAX_S = 30.0
# These do not go away by themselves.
_PERMANENT = (ConfigurationError, InvalidRequestError, NotAllowedError)

log = logging.getLogger("sayso")


class WatchState:
    """The state of one watch.

    A revocation is carried out (by the callback), then acknowledged, then its cursor is saved. If something fails in
    between, it is delivered again. So every revocation is delivered at least once.
    """

    def __init__(self, store: CursorStore | None) -> None:
        self.store: CursorStore = store if store is not None else MemoryCursor()
        self._is_durable = store is not None
        self._tries = 0
        self.error: Exception | None = None
        """Why the watch gave up."""

    def open(self) -> operations.Operation[Revocation]:
        """Returns the call that continues after the saved cursor.

        A durable store that is empty starts at the beginning, so that nothing is missed. Without a store, the watch
        starts now.
        """
        saved = self.store.load()
        return operations.watch_revocations(saved if saved is not None else 0 if self._is_durable else None)

    def started(self, first: Revocation) -> None:
        """Takes the first message. Its cursor is an earlier one if a restore lost a part of the log."""
        if self.store.load() != first.cursor:
            self.store.save(first.cursor)

    def acknowledge(self, revocation: Revocation) -> operations.Operation[Receipt] | None:
        """Returns the acknowledgment of a revocation that was carried out, if the log has it already."""
        is_recorded = revocation.recorded_at is not None and not revocation.is_suspension
        return operations.acknowledge(revocation.cursor) if is_recorded else None

    def carried_out(self, revocation: Revocation) -> None:
        """Saves the cursor of a revocation that was carried out and acknowledged."""
        self._tries = 0
        if revocation.recorded_at is not None:
            self.store.save(revocation.cursor)

    def failed(self, problem: Exception) -> float | None:
        """Returns how many seconds to wait before the next try, or nothing if there is no point in one."""
        if isinstance(problem, _PERMANENT):
            self.error = problem
            log.error("the watch of revocations has ended: %s", _kind(problem))
            return None
        log.warning("the watch of revocations is interrupted: %s", _kind(problem))
        asked = problem.detail.retry_after if isinstance(problem, SaysoError) else None
        longest = min(_BACKOFF_FIRST_S * float(1 << min(self._tries, 16)), _BACKOFF_MAX_S)
        self._tries += 1
        return max(asked or 0.0, longest * random.uniform(0.5, 1.0))  # noqa: S311


def _kind(problem: Exception) -> str:
    reason = problem.reason if isinstance(problem, SaysoError) else ""
    return reason or type(problem).__name__
