"""Client of Sayso, the consent and profile ledger for personalized language models.

`Ledger` is for code without asyncio, `sayso.aio.Ledger` for code with it. `sayso.v1` has the messages and stubs of the
whole API, generated from its proto files.
"""

from sayso._block import render
from sayso.answers import (
    AllowedFact,
    Check,
    Consent,
    Embedding,
    Erasure,
    Explanation,
    Fact,
    ProfileFact,
    Receipt,
    RecordedUse,
    Remedy,
    Remembered,
    Revocation,
    Said,
    Withheld,
)
from sayso.client import Ledger, Person, Use, Watch
from sayso.cursor import CursorStore, FileCursor, MemoryCursor
from sayso.errors import SaysoError

__version__ = "0.1.0"

__all__ = [
    "AllowedFact",
    "Check",
    "Consent",
    "CursorStore",
    "Embedding",
    "Erasure",
    "Explanation",
    "Fact",
    "FileCursor",
    "Ledger",
    "MemoryCursor",
    "Person",
    "ProfileFact",
    "Receipt",
    "RecordedUse",
    "Remedy",
    "Remembered",
    "Revocation",
    "Said",
    "SaysoError",
    "Use",
    "Watch",
    "Withheld",
    "__version__",
    "render",
]
