"""The PostgreSQL plugin while its server, or the network before it, fails; each test has its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from toolkit.devservices import RunningServer, open_server
from toolkit.plugins import DevServer, Host
from toolkit.plugins.postgres_gorm import Database, PostgresSettings, plugin
from toolkit.testing.proxy import FaultProxy

Settings = Callable[..., PostgresSettings]


async def one(database: Database, value: int = 1) -> Any:
    async with database.sessionmaker() as session:
        return await session.scalar(text("SELECT CAST(:value AS integer)"), {"value": value})


@pytest.fixture
async def own_server() -> AsyncIterator[RunningServer]:
    async with open_server("postgres") as server:
        yield server


@pytest.fixture
async def proxy(postgres_database: DevServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(postgres_database.host, postgres_database.port) as proxy:
        yield proxy


@pytest.fixture
async def database(
    postgres_database: DevServer, proxy: FaultProxy, postgres_settings: Settings, host: Host
) -> AsyncIterator[Database]:
    """A database behind a proxy, with short timeouts."""
    settings = postgres_settings(postgres_database, host=proxy.host, port=proxy.port, connect_timeout=1.0)
    async with plugin.open(settings, host) as database:
        yield database


async def test_recovers_from_a_crash(own_server: RunningServer, postgres_settings: Settings, host: Host) -> None:
    """While the server is dead, check and calls fail; after its restart the next of each works."""
    place = await own_server.create_database("crash")
    async with plugin.open(postgres_settings(place), host) as database:
        await plugin.check(database)
        await asyncio.gather(*(one(database) for _ in range(5)))
        await own_server.kill()
        with pytest.raises((OSError, DBAPIError)):
            await plugin.check(database)
        with pytest.raises((OSError, DBAPIError)):
            await one(database)
        await own_server.restart()
        assert await asyncio.gather(*(one(database, n) for n in range(10))) == list(range(10))
        await plugin.check(database)


async def test_recovers_from_an_unnoticed_restart(
    own_server: RunningServer, postgres_settings: Settings, host: Host
) -> None:
    """Connections that were idle through a restart are replaced without any call failing."""
    place = await own_server.create_database("restart")
    async with plugin.open(postgres_settings(place), host) as database:
        await plugin.check(database)
        await asyncio.gather(*(one(database) for _ in range(5)))
        await own_server.restart()
        await plugin.check(database)
        assert await asyncio.gather(*(one(database, n) for n in range(10))) == list(range(10))


async def test_reset_connections_are_replaced(database: Database, proxy: FaultProxy) -> None:
    """Idle connections that the network has reset are replaced without a call failing."""
    await asyncio.gather(*(one(database) for _ in range(5)))
    await proxy.reset()
    await proxy.forward()
    assert await one(database, 7) == 7


@pytest.mark.parametrize("connected", [False, True])
async def test_check_finds_a_stalled_server(database: Database, proxy: FaultProxy, connected: bool) -> None:
    """A server that accepts and never answers fails the check within its bound, and passes it when it answers again."""
    if connected:
        await plugin.check(database)
    await proxy.stall()
    started = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        await plugin.check(database)
    assert time.monotonic() - started < 5
    assert str(caught.value) == "no answer within 1 s"
    await proxy.forward()
    await plugin.check(database)


async def test_check_that_is_cut_short_leaves_nothing(database: Database, proxy: FaultProxy) -> None:
    """A check that is cancelled while it waits leaves no task, and its connection is not used again."""
    await plugin.check(database)
    before = asyncio.all_tasks()
    await proxy.stall()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await plugin.check(database)
    assert database._probe._connection is None
    await proxy.forward()
    await plugin.check(database)
    await wait_until(lambda: asyncio.all_tasks() - before <= proxy_tasks())


async def test_calls_on_a_stalled_server_are_bounded(
    database: Database, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose idle connection and whose new one find a black hole fails within twice CONNECT_TIMEOUT."""
    monkeypatch.setattr("toolkit.plugins.postgres_gorm.connections._TRUSTED_IDLE", 0.0)
    assert await one(database) == 1
    await proxy.stall()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await one(database)
    assert time.monotonic() - started < 5
    assert database.pool.in_use == 0
    await proxy.forward()
    assert await one(database, 7) == 7


async def test_idle_connection_is_asked_before_it_is_used(
    database: Database, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that died without a word is noticed before a statement is lost on it."""
    assert await one(database) == 1
    accepted = proxy.accepted
    assert await one(database) == 1
    await proxy.stall()
    monkeypatch.setattr("toolkit.plugins.postgres_gorm.connections._TRUSTED_IDLE", 0.0)
    checkout = asyncio.create_task(one(database, 7))
    # Another connection comes only because the first did not answer.
    await wait_until(lambda: proxy.accepted > accepted)
    await proxy.forward()
    assert await checkout == 7


async def test_closing_on_a_stalled_server_is_bounded(
    postgres_database: DevServer, proxy: FaultProxy, postgres_settings: Settings, host: Host
) -> None:
    """The plugin closes within its stop timeout, and without leaving a connection, while the server is a black hole."""
    before = asyncio.all_tasks()
    settings = postgres_settings(postgres_database, host=proxy.host, port=proxy.port)
    async with plugin.open(settings, host) as database:
        await plugin.check(database)
        await asyncio.gather(*(one(database) for _ in range(5)))
        await proxy.stall()
        started = time.monotonic()
    assert time.monotonic() - started < plugin.stop_timeout
    await wait_until(lambda: asyncio.all_tasks() - before <= proxy_tasks())


async def test_cancelled_calls_leave_no_dirty_connection(
    postgres_database: DevServer, postgres_settings: Settings, host: Host
) -> None:
    """Of some hundred calls cancelled at any point none leaves an open transaction or gets another's answer."""
    chance = random.Random(20240229)
    settings = postgres_settings(postgres_database, pool_size=4, max_overflow=2, application_name="cancelled")

    async def call(database: Database, value: int) -> None:
        async with database.sessionmaker() as session:
            await session.execute(text("INSERT INTO seen VALUES (:value)"), {"value": value})
            got = await session.scalar(text("SELECT CAST(:value AS integer), pg_sleep(0.002)"), {"value": value})
            assert got == value
            await session.rollback()

    async with plugin.open(settings, host) as database:
        async with database.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE seen (value integer)"))
        cancelled = 0
        for turn in range(15):
            tasks = [asyncio.create_task(call(database, turn * 100 + n)) for n in range(20)]
            for _ in range(4):
                await asyncio.sleep(chance.random() * 0.02)
                for task in chance.sample(tasks, 6):
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
            assert [result for result in results if isinstance(result, Exception)] == []
        assert cancelled > 100
        assert database.pool.in_use == 0
        async with database.sessionmaker() as session:
            assert await session.scalar(text("SELECT count(*) FROM seen")) == 0
            others = text(
                "SELECT state FROM pg_stat_activity WHERE application_name = 'cancelled' AND pid <> pg_backend_pid()"
            )
            async with asyncio.timeout(10):
                while set(await session.scalars(others)) - {"idle"}:
                    await session.rollback()
        assert [await one(database, n) for n in range(20)] == list(range(20))


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def proxy_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "FaultProxy" in repr(task.get_coro())}
