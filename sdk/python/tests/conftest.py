"""One daemon for most tests. Each test has people of its own, so tests don't disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import Daemon

import sayso
import sayso.aio


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the settings of the shell away from the tests."""
    for name in ("ADDR", "CA", "CERT", "KEY", "TOKEN_FILE", "DATA"):
        monkeypatch.delenv(f"SAYSO_{name}", raising=False)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that tests share. It has the notice `welcome`."""
    started = Daemon(tmp_path_factory.mktemp("daemon"))
    with started.ledger("steward") as steward:
        steward.publish_notice("welcome", "We remember facts about you to adapt how we speak to you.")
    yield started
    started.stop()


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that a test may stop."""
    started = Daemon(tmp_path)
    with started.ledger("steward") as steward:
        steward.publish_notice("welcome", "We remember facts about you to adapt how we speak to you.")
    yield started
    started.stop()


@pytest.fixture
def own_daemon_without_notice(tmp_path: Path) -> Iterator[Daemon]:
    """A new daemon, as a reader of the quickstart has it."""
    started = Daemon(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def ledger(daemon: Daemon) -> Iterator[sayso.Ledger]:
    """A connection of a service that is also a channel."""
    with daemon.ledger() as connected:
        yield connected


@pytest.fixture
def steward(daemon: Daemon) -> Iterator[sayso.Ledger]:
    """A connection of the controller's staff."""
    with daemon.ledger("steward") as connected:
        yield connected


@pytest.fixture
def person(request: pytest.FixtureRequest, ledger: sayso.Ledger) -> sayso.Person:
    """A person whom no other test knows."""
    return ledger.person(request.node.name)
