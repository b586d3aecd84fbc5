"""Where a watch of revocations keeps the cursor up to which it has carried them out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from sayso.errors import CursorError

__all__ = ["CursorStore", "FileCursor", "MemoryCursor"]

_BYTES_MAX = 32


class CursorStore(Protocol):
    """Keeps one cursor. `save` returns when the cursor is durable; both may be called from any thread."""

    def load(self) -> int | None:
        """Returns the saved cursor, or `None` if none was ever saved."""

    def save(self, cursor: int) -> None:
        """Saves a cursor, in place of the previous one."""


class MemoryCursor:
    """Keeps the cursor in memory only, so a new process starts anew."""

    def __init__(self) -> None:
        self._cursor: int | None = None

    def load(self) -> int | None:
        """Returns the saved cursor, or `None` if none was ever saved."""
        return self._cursor

    def save(self, cursor: int) -> None:
        """Saves a cursor."""
        self._cursor = cursor


class FileCursor:
    """Keeps the cursor in a file, which is replaced atomically: a crash leaves the old or the new cursor."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self) -> int | None:
        """Returns the saved cursor, or `None` if there is no file.

        Raises:
            CursorError: The file cannot be read, or it has no cursor in it.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CursorError(f"{self.path} cannot be read: {error.strerror}") from error
        digits = text.strip()
        if not digits.isdigit() or not text.endswith(b"\n") or len(text) > _BYTES_MAX:
            raise CursorError(f"{self.path} has no cursor in it")
        return int(digits)

    def save(self, cursor: int) -> None:
        """Saves a cursor. It returns when the cursor is on disk.

        Raises:
            CursorError: The file cannot be written.
        """
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        try:
            with temporary.open("wb") as file:
                file.write(b"%d\n" % cursor)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise CursorError(f"{self.path} cannot be written: {error.strerror}") from error
