"""Finds the uses of this process that are under way, so that a revocation ends them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakSet

from sayso._use import UseState

__all__ = ["OpenUses"]


class OpenUses:
    """The uses that are inside of their `with` block."""

    def __init__(self) -> None:
        self._uses: WeakSet[UseState] = WeakSet()
        self._lock = threading.Lock()

    def add(self, use: UseState) -> None:
        """Adds a use that was entered."""
        with self._lock:
            self._uses.add(use)

    def remove(self, use: UseState) -> None:
        """Removes a use that was left."""
        with self._lock:
            self._uses.discard(use)

    def revoked(self, grants: Iterable[str], reason: str) -> None:
        """Ends the uses of these grants: their blocks are empty from now on."""
        ended = frozenset(grants)
        if not ended:
            return
        with self._lock:
            found = [use for use in self._uses if use.grant_id in ended]
        for use in found:
            use.end(reason)

    def suspended(self, reason: str) -> None:
        """Ends all uses."""
        with self._lock:
            found = list(self._uses)
        for use in found:
            use.end(reason)
