"""The fixtures that lend real servers to tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from toolkit.devservices import RunningServer
from toolkit.plugins import DevServer

_seen: list[tuple[int, str]] = []


@pytest.fixture
def second_postgres_database(postgres_server: RunningServer) -> Iterator[DevServer]:
    """A test that needs two databases asks the server itself for the other."""
    yield postgres_server.blocking.create_database("second")
    postgres_server.blocking.drop_database("second")


def test_servers_are_shared_and_databases_are_not(
    postgres_server: RunningServer, postgres_database: DevServer, second_postgres_database: DevServer
) -> None:
    """Each test has a database of its own on the server of the session."""
    assert postgres_database.port == second_postgres_database.port == postgres_server.port
    assert postgres_database.database != second_postgres_database.database


@pytest.mark.parametrize("turn", [1, 2])
def test_servers_last_for_the_session(redis_server: RunningServer, redis_database: DevServer, turn: int) -> None:
    """The server stays from test to test, and each finds its key space empty."""
    commands = [f"AUTH {redis_database.password}", f"SELECT {redis_database.database}", "DBSIZE", "SET key value"]
    answers = ask(redis_database, commands)
    assert answers == ["+OK", "+OK", ":0", "+OK"]
    _seen.append((redis_server.port, redis_database.host))
    assert len(set(_seen)) == 1


def test_servers_are_tied_to_no_loop(postgres_server: RunningServer) -> None:
    """A shared server can be used from one event loop after another."""
    for name in ("first_loop", "second_loop"):
        assert asyncio.run(postgres_server.create_database(name)).database == name
        asyncio.run(postgres_server.drop_database(name))


def ask(server: DevServer, commands: list[str]) -> list[str]:
    with socket.create_connection((server.host, server.port), 5) as connection:
        stream = connection.makefile("rw", newline="\r\n", encoding="ascii")
        answers = []
        for command in commands:
            stream.write(f"{command}\r\n")
            stream.flush()
            answers.append(stream.readline().strip())
    return answers
