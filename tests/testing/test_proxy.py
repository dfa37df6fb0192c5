"""The fault proxy before a server that echoes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from toolkit.testing.proxy import FaultProxy


class Echo:
    """A server that sends back what it receives, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                self.received += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.accept, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()
    for task in echo.tasks:
        task.cancel()
    await asyncio.gather(*echo.tasks, return_exceptions=True)


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", echo[1]) as proxy:
        yield proxy


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, proxy: FaultProxy) -> Client:
        return cls(*await asyncio.open_connection(proxy.host, proxy.port))

    async def say(self, data: bytes) -> bytes:
        self.writer.write(data)
        await self.writer.drain()
        return await self.reader.read(1000)

    async def is_silent(self, data: bytes) -> bool:
        """Whether nothing comes back while ten round trips would have fitted in."""
        self.writer.write(data)
        try:
            await asyncio.wait_for(self.reader.read(1000), 0.1)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self.writer.transport.abort()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_forwards(proxy: FaultProxy) -> None:
    """Without a fault everything passes, over several connections at once, and closed ones are forgotten."""
    clients = [await Client.connect(proxy) for _ in range(3)]
    assert [await client.say(b"hello") for client in clients] == [b"hello"] * 3
    assert (proxy.accepted, proxy.connections) == (3, 3)
    large = bytes(range(256)) * 4000
    clients[0].writer.write(large)
    assert await clients[0].reader.readexactly(len(large)) == large
    for client in clients:
        client.close()
    await wait_until(lambda: proxy.connections == 0)


async def test_server_closing_is_passed_on(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    """When the server closes a connection the client sees its end."""
    client = await Client.connect(proxy)
    await client.say(b"hello")
    for task in echo[0].tasks:
        task.cancel()
    assert await client.reader.read() == b""
    client.close()


async def test_cut_closes_and_refuses(proxy: FaultProxy) -> None:
    """Cut ends open connections and refuses new ones; afterwards the same port serves again."""
    client = await Client.connect(proxy)
    assert await client.say(b"hello") == b"hello"
    port = proxy.port
    await proxy.cut()
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(proxy)
    assert await client.reader.read() == b""
    assert proxy.connections == 0
    await proxy.cut()
    await proxy.forward()
    again = await Client.connect(proxy)
    assert await again.say(b"hello") == b"hello"
    assert proxy.port == port
    client.close()
    again.close()


async def test_reset_resets(proxy: FaultProxy) -> None:
    """Reset ends open connections, and each new one, with a reset rather than an end of file."""
    client = await Client.connect(proxy)
    assert await client.say(b"hello") == b"hello"
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    new = await Client.connect(proxy)
    with pytest.raises(ConnectionResetError):
        await new.reader.read()
    client.close()
    new.close()


async def test_stall_holds_everything_back(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    """Stall accepts and forwards nothing either way; what was held back comes through afterwards."""
    client = await Client.connect(proxy)
    assert await client.say(b"one") == b"one"
    await proxy.stall()
    new = await Client.connect(proxy)
    assert await client.is_silent(b"two")
    assert await new.is_silent(b"three")
    assert echo[0].received == b"one"
    await proxy.forward()
    assert await client.reader.read(1000) == b"two"
    assert await new.reader.read(1000) == b"three"
    client.close()
    new.close()


async def test_drop_replies_loses_answers_alone(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    """Drop replies lets requests through and loses what the server answers."""
    client = await Client.connect(proxy)
    assert await client.say(b"one") == b"one"
    await proxy.drop_replies()
    assert await client.is_silent(b"two")
    assert echo[0].received == b"onetwo"
    await proxy.forward()
    assert await client.say(b"three") == b"three"
    client.close()


async def test_delay_delays(proxy: FaultProxy) -> None:
    """Delay holds data back for its time on the way there and on the way back."""
    client = await Client.connect(proxy)
    await proxy.delay(0.05)
    started = time.monotonic()
    assert await client.say(b"hello") == b"hello"
    assert time.monotonic() - started >= 0.1
    client.close()


async def test_leaving_closes_everything(echo: tuple[Echo, int]) -> None:
    """Leaving the context ends connections, stalled ones too, frees the port and leaves no task."""
    before = asyncio.all_tasks()
    async with FaultProxy("127.0.0.1", echo[1]) as proxy:
        client = await Client.connect(proxy)
        assert await client.say(b"hello") == b"hello"
        await proxy.stall()
        client.writer.write(b"held")
        stalled = await Client.connect(proxy)
        await wait_until(lambda: proxy.connections == 2)
    assert await client.reader.read() == b""
    assert await stalled.reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(proxy)
    await wait_until(lambda: asyncio.all_tasks() - before <= echo[0].tasks)
    client.close()
    stalled.close()


async def test_server_that_is_down(proxy: FaultProxy) -> None:
    """A connection for which there is no server is closed."""
    async with FaultProxy("127.0.0.1", proxy.port) as front:
        await proxy.cut()
        client = await Client.connect(front)
        assert await client.reader.read() == b""
        client.close()
