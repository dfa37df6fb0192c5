"""Real servers for tests: started once a session, with a database for every test.

A session of pytest-xdist is a worker: each has servers of its own. The servers are
processes, tied to no event loop, and the fixtures are synchronous, so that tests under
any loop can share them. A test that stops, kills or stalls a server starts its own with
:func:`toolkit.devservices.open_server`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # pytest imports this module in every project that has toolkit installed, used or not.
    from toolkit.devservices import RunningServer
    from toolkit.plugins import DevServer

__all__ = ["postgres_database", "postgres_server", "redis_database", "redis_server"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[RunningServer]:
    """A PostgreSQL server for all tests of the session."""
    yield from _run("postgres")


@pytest.fixture
def postgres_database(postgres_server: RunningServer) -> Iterator[DevServer]:
    """An empty PostgreSQL database for one test, dropped after it."""
    yield from _lend(postgres_server)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RunningServer]:
    """A Valkey or Redis server for all tests of the session."""
    yield from _run("redis")


@pytest.fixture
def redis_database(redis_server: RunningServer) -> Iterator[DevServer]:
    """An empty Redis database for one test, emptied after it."""
    yield from _lend(redis_server)


def _run(kind: str) -> Iterator[RunningServer]:
    from toolkit.devservices import SERVERS, RunningServer

    server = SERVERS[kind]()
    try:
        server.open()
        yield RunningServer(server)
    finally:
        server.close()


def _lend(server: RunningServer) -> Iterator[DevServer]:
    name = f"test_{next(_numbers)}"
    yield server.blocking.create_database(name)
    server.blocking.drop_database(name)
