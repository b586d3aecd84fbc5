"""Starts the real daemon for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import sayso

REPOSITORY = Path(__file__).resolve().parents[3]
_START_S_MAX = 30.0


def binary() -> Path:
    """Returns the program: that of SAYSO_BIN, or else the newest one that was built here."""
    named = os.environ.get("SAYSO_BIN")
    if named:
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [path for kind in ("debug", "release") if (path := target / kind / "sayso").exists()]
    if not built:
        raise FileNotFoundError("no daemon to test with; run `cargo build` or set SAYSO_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


def run(*arguments: str | Path) -> str:
    """Runs a command of the program, and returns what it prints."""
    command: Sequence[str | Path] = [binary(), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Daemon:
    """A daemon with a data folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.data = folder / "data"
        self.log = folder / "daemon.log"
        self._arguments = arguments or ("--dev",)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts the daemon, and returns when it serves. A daemon that was stopped gets its port again."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    binary(),
                    "serve",
                    *self._arguments,
                    "--data",
                    self.data,
                    "--listen",
                    f"127.0.0.1:{self._port}",
                    "--http",
                    "127.0.0.1:0",
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _START_S_MAX
        while not self._serves():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"the daemon did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def _serves(self) -> bool:
        found = [line for line in self.log.read_text().splitlines() if line.startswith("sayso serves gRPC on ")]
        if found:
            self._port = int(found[0].split()[4].rsplit(":", 1)[1])
        return bool(found)

    def stop(self) -> None:
        """Stops the daemon in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    @property
    def address(self) -> str:
        """The address on which it serves without TLS."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port of gRPC."""
        return self._port

    def token(self, *arguments: str) -> str:
        """Makes a token with the built-in issuer."""
        return run("token", *arguments, "--data", self.data)

    def ledger(self, role: str = "service-channel") -> sayso.Ledger:
        """Connects with the token of a role."""
        return sayso.Ledger(data=self.data, role=role)
