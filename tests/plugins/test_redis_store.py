"""The Redis plugin on a real server: well, failing, and unreachable."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import TimeoutError as NoAnswerError

from toolkit.devservices import open_server
from toolkit.plugins import DevServer, Host
from toolkit.plugins.redis import PoolFigures, RedisSettings, RedisStore, plugin
from toolkit.testing.proxy import FaultProxy

Settings = Callable[..., RedisSettings]
PASSWORD = "p@ss/w:rd?#% +é&="


@pytest.fixture
async def store(redis_database: DevServer, redis_settings: Settings, host: Host) -> AsyncIterator[RedisStore]:
    async with plugin.open(redis_settings(redis_database, pool_size=3, pool_timeout=0.05), host) as store:
        yield store


@pytest.fixture
async def proxy(redis_database: DevServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_database.host, redis_database.port) as proxy:
        yield proxy


@pytest.fixture
async def far_store(
    redis_database: DevServer, proxy: FaultProxy, redis_settings: Settings, host: Host
) -> AsyncIterator[RedisStore]:
    """A store behind a proxy, with the default timeouts."""
    async with plugin.open(redis_settings(redis_database, host=proxy.host, port=proxy.port), host) as store:
        yield store


async def test_open_needs_no_network(host: Host) -> None:
    """The plugin opens and closes without a server; only its check fails."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with plugin.open(RedisSettings(port=port), host) as store:
            assert store.pool == PoolFigures(in_use=0, idle=0, limit=50)
            with pytest.raises(NoConnectionError):
                await plugin.check(store)


async def test_views_are_those_of_the_resource(store: RedisStore) -> None:
    """The views are the resource itself and its client."""
    views: dict[type, Any] = dict(plugin.provides)
    assert views[RedisStore](store) is store
    assert views[Redis](store) is store.client


async def test_database_is_honoured(
    redis_server: Any, redis_database: DevServer, store: RedisStore, redis_settings: Settings, host: Host
) -> None:
    """Two instances with two database numbers of one server see nothing of each other."""
    other = await redis_server.create_database("second_instance")
    assert other.database != redis_database.database
    async with plugin.open(redis_settings(other), host) as second:
        await store.client.set("name", "ada")
        await second.client.set("name", "bob")
        assert await store.client.get("name") == b"ada"
        assert await second.client.get("name") == b"bob"
        assert (await store.client.client_info())["db"] == int(redis_database.database)
    await redis_server.drop_database("second_instance")


async def test_check_passes_while_the_pool_is_exhausted(store: RedisStore) -> None:
    """The check has a connection of its own: it passes while every other is in use, and calls are told so."""
    waiting = [asyncio.ensure_future(store.client.blpop(["nothing"], timeout=1)) for _ in range(3)]
    await wait_until(lambda: store.pool == PoolFigures(in_use=3, idle=0, limit=3))
    with pytest.raises(NoConnectionError, match=r"^No connection available\.$"):
        await store.client.get("name")
    await plugin.check(store)
    await store.check()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert store.pool.in_use == 0


async def test_cancelled_commands_leave_no_dirty_connection(store: RedisStore) -> None:
    """Of some hundred commands cancelled at any point none leaves its answer to another, or keeps its connection."""
    chance = random.Random(20240229)
    await store.client.mset({f"key{n}": n for n in range(50)})

    async def get(number: int) -> None:
        assert await store.client.get(f"key{number}") == str(number).encode()

    cancelled = 0
    for _ in range(40):
        tasks = [asyncio.create_task(get(chance.randrange(50))) for _ in range(20)]
        for _ in range(3):
            await asyncio.sleep(chance.random() * 0.002)
            for task in chance.sample(tasks, 6):
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
        assert {type(result) for result in results if isinstance(result, Exception)} <= {NoConnectionError}
    assert cancelled > 100
    assert store.pool.in_use == 0
    # All of the pool's places are still there.
    await asyncio.gather(*(get(number) for number in range(3)))


async def test_any_password_works(redis_database: DevServer, redis_settings: Settings, host: Host) -> None:
    """A user of the access control list and a password of any characters are passed on as they are."""
    async with plugin.open(redis_settings(redis_database), host) as admin:
        await admin.client.acl_setuser("us:er", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", commands=["+@all"])
    settings = redis_settings(redis_database, username="us:er", password=PASSWORD)
    async with plugin.open(settings, host) as store:
        await plugin.check(store)
        assert await store.client.acl_whoami() in ("us:er", b"us:er")


async def test_wrong_password_is_reported_without_it(
    redis_database: DevServer, redis_settings: Settings, host: Host
) -> None:
    """A refused password fails the check, without the password."""
    async with plugin.open(redis_settings(redis_database, password="s3cret"), host) as store:
        with pytest.raises(AuthenticationError) as caught:
            await plugin.check(store)
    assert "s3cret" not in str(caught.value)


async def test_secrets_are_in_no_repr(store: RedisStore, redis_database: DevServer) -> None:
    """No object that a handler is given shows the password."""
    await store.client.ping()
    shown = f"{store!r} {store.client!r} {store.client.connection_pool!r}"
    assert redis_database.password not in shown
    assert f"{redis_database.host}:{redis_database.port}/{redis_database.database}" in shown


async def test_recovers_from_a_crash(redis_settings: Settings, host: Host) -> None:
    """While the server is dead, check and commands fail at once; after its restart the next of each works."""
    async with open_server("redis") as server:
        place = await server.create_database("crash")
        async with plugin.open(redis_settings(place), host) as store:
            await plugin.check(store)
            await asyncio.gather(*(store.client.ping() for _ in range(5)))
            await server.kill()
            with pytest.raises(NoConnectionError):
                await plugin.check(store)
            with pytest.raises(NoConnectionError):
                await store.client.ping()
            await server.restart()
            assert await asyncio.gather(*(store.client.ping() for _ in range(10))) == [True] * 10
            await plugin.check(store)


async def test_recovers_from_an_unnoticed_restart(redis_settings: Settings, host: Host) -> None:
    """Connections that were idle through a restart are replaced without a command or a check failing."""
    async with open_server("redis") as server:
        place = await server.create_database("restart")
        async with plugin.open(redis_settings(place), host) as store:
            await plugin.check(store)
            await asyncio.gather(*(store.client.ping() for _ in range(5)))
            await server.restart()
            await plugin.check(store)
            assert await asyncio.gather(*(store.client.ping() for _ in range(10))) == [True] * 10


@pytest.mark.parametrize("connected", [False, True])
async def test_command_on_a_stalled_server_is_bounded(
    far_store: RedisStore, proxy: FaultProxy, connected: bool
) -> None:
    """By default no command and no check on a black hole takes longer than 3 s, alone or in a crowd."""
    if connected:
        await far_store.client.ping()
        await plugin.check(far_store)
    await proxy.stall()
    started = time.monotonic()
    commands = [far_store.client.get("name") for _ in range(80)]
    results = await asyncio.gather(plugin.check(far_store), *commands, return_exceptions=True)
    assert time.monotonic() - started < 6
    assert {type(result) for result in results} <= {NoConnectionError, NoAnswerError}
    assert far_store.pool.in_use == 0
    await proxy.forward()
    await plugin.check(far_store)
    assert await far_store.client.ping() is True


async def test_check_that_is_cut_short_leaves_nothing(far_store: RedisStore, proxy: FaultProxy) -> None:
    """A check that is cancelled while it waits is not answered by its own late reply the next time."""
    await plugin.check(far_store)
    await proxy.stall()
    accepted = proxy.accepted
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await plugin.check(far_store)
    await proxy.forward()
    await plugin.check(far_store)
    assert proxy.accepted == accepted + 1


async def test_nothing_is_sent_twice_by_default(far_store: RedisStore, proxy: FaultProxy) -> None:
    """A command whose answer was lost fails rather than run a second time."""
    await far_store.client.set("count", 0)
    await proxy.drop_replies()
    with pytest.raises(RedisError):
        await far_store.client.incr("count")
    await proxy.forward()
    assert await far_store.client.get("count") == b"1"


async def test_lost_connection_is_an_error_of_redis(far_store: RedisStore, proxy: FaultProxy) -> None:
    """A connection that was reset while it was idle fails with the client's own error, and so do those that follow."""
    await far_store.client.set("name", "ada")
    await proxy.reset()
    for _ in range(3):
        with pytest.raises(NoConnectionError):
            await far_store.client.get("name")
    await proxy.forward()
    assert await far_store.client.get("name") == b"ada"


async def test_max_retries_sends_again(
    redis_database: DevServer, proxy: FaultProxy, redis_settings: Settings, host: Host
) -> None:
    """With MAX_RETRIES a command that failed is sent again, on a new connection."""
    settings = redis_settings(
        redis_database, host=proxy.host, port=proxy.port, max_retries=20, max_retry_backoff=0.05, pool_size=1
    )
    async with plugin.open(settings, host) as store:
        await store.client.set("name", "ada")
        await proxy.reset()
        accepted = proxy.accepted
        answer = asyncio.ensure_future(store.client.get("name"))
        await wait_until(lambda: proxy.accepted > accepted + 1)
        await proxy.forward()
        assert await answer == b"ada"


async def test_closing_leaves_no_connection(
    redis_database: DevServer, store: RedisStore, redis_settings: Settings, host: Host
) -> None:
    """After the plugin is closed the server has none of its connections."""
    before = await clients(store)
    async with plugin.open(redis_settings(redis_database), host) as other:
        await plugin.check(other)
        await asyncio.gather(*(other.client.ping() for _ in range(5)))
        assert await clients(store) > before
    async with asyncio.timeout(5):
        while await clients(store) > before:
            await asyncio.sleep(0.01)


async def clients(store: RedisStore) -> int:
    return len(await store.client.client_list())


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
