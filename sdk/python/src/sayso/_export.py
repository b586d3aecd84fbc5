"""Writes a person's package to a file, which appears only when it is whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType

from sayso._settings import StrPath

__all__ = ["ExportFile"]


class ExportFile:
    """A new file that only its owner may read. If writing fails, nothing is left of it."""

    def __init__(self, path: StrPath) -> None:
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        self.size = 0

    def __enter__(self) -> ExportFile:
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self

    def write(self, part: bytes) -> None:
        """Writes the next part."""
        self.size += self._file.write(part)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
            if kind is None:
                self._temporary.replace(self._path)
            else:
                self._temporary.unlink(missing_ok=True)

    async def __aenter__(self) -> ExportFile:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
