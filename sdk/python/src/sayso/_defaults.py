"""What a ledger's calls do by default, and the functions that a service plugs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sayso._block import Renderer
from sayso._remembering import Categorizer
from sayso.answers import Fact

__all__ = ["AsyncExtractor", "Defaults", "Extractor"]

E = TypeVar("E")
Extractor = Callable[[str], Sequence[Fact]]
"""Finds facts about a person in a text."""

AsyncExtractor = Callable[[str], "Sequence[Fact] | Awaitable[Sequence[Fact]]"]
"""An extractor that may also be a coroutine function."""


@dataclass(frozen=True)
class Defaults(Generic[E]):
    """The defaults of a ledger's calls."""

    timeout: float
    """The deadline of a call, in seconds, with all its retries."""
    reply_timeout: float
    """The deadline of the calls that a reply waits for."""
    extractor: E | None
    categorizer: Categorizer | None
    renderer: Renderer
