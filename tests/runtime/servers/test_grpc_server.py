"""The server itself: binding its port, and stopping without losing a call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc import aio

from toolkit.errors import StartupError
from toolkit.runtime.call import Context

Serve = Callable[..., Awaitable[Any]]
Text = Callable[[str], Any]
Until = Callable[..., Awaitable[None]]


async def echo(request: Any, _context: Context) -> Any:
    return request


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens who would share it."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        yield listener.getsockname()[1]


async def test_address(serve: Serve, text: Text) -> None:
    """Port 0 picks a free port, and the address says which."""
    served = await serve({"Say": echo})
    host, _, port = served.server.address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert (await served.method("Say")(text("hello"))).text == "hello"


async def test_address_of_ipv6(serve: Serve, text: Text) -> None:
    """An IPv6 address is listened on and shown in brackets."""
    served = await serve({"Say": echo}, listen="::1")
    assert served.server.address.startswith("[::1]:")
    assert (await served.method("Say")(text("hello"))).text == "hello"


async def test_port_in_use(serve: Serve, taken_port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is an error which names address and variable, and nothing else is printed."""
    with pytest.raises(StartupError) as caught:
        await serve({"Say": echo}, port=taken_port)
    assert str(caught.value) == (
        f"ECHO_GRPC_SERVER_PORT: cannot listen on 127.0.0.1:{taken_port}: the port is in use by another process\n"
        "  → set ECHO_GRPC_SERVER_PORT to a free port; 0 picks one"
    )
    assert capfd.readouterr() == ("", "")


async def test_port_in_use_on_every_address(serve: Serve, taken_port: int) -> None:
    """Listening everywhere needs the port everywhere."""
    with pytest.raises(StartupError) as caught:
        await serve({"Say": echo}, listen="0.0.0.0", port=taken_port)
    assert f"cannot listen on 0.0.0.0:{taken_port}: the port is in use by another process" in str(caught.value)


async def test_port_is_not_shared(serve: Serve) -> None:
    """Two servers never share a port."""
    served = await serve({"Say": echo})
    port = int(served.server.address.rpartition(":")[2])
    with pytest.raises(StartupError) as caught:
        await serve({"Say": echo}, port=port)
    assert "the port is in use by another process" in str(caught.value)
    with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port), reuse_port=True):
        pass


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("192.0.2.1", "the address is not one of this machine's"),
        ("no-such-host.invalid", "the host's name is not known here"),
    ],
)
@pytest.mark.parametrize("port", [0, 50051])
async def test_bad_address(
    serve: Serve, listen: str, port: int, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """An address that cannot be listened on is an error which names the variable of the address."""
    with pytest.raises(StartupError) as caught:
        await serve({"Say": echo}, listen=listen, port=port)
    assert str(caught.value) == (
        f"ECHO_GRPC_SERVER_LISTEN: cannot listen on {listen}:{port}: {reason}\n"
        "  → set ECHO_GRPC_SERVER_LISTEN to an address of this machine, or to 0.0.0.0 for all of them"
    )
    assert capfd.readouterr() == ("", "")


async def test_port_is_free_after_the_stop(serve: Serve, text: Text) -> None:
    """A stopped server leaves its port to the next one at once."""
    served = await serve({"Say": echo})
    await served.method("Say")(text("hello"))
    port = int(served.server.address.rpartition(":")[2])
    await served.server.stop(0)
    again = await serve({"Say": echo}, port=port)
    assert (await again.method("Say")(text("hello"))).text == "hello"


async def test_stop_lets_calls_finish(serve: Serve, text: Text, until: Until) -> None:
    """Calls under way finish within the grace; further ones are refused meanwhile."""
    started, release = asyncio.Event(), asyncio.Event()

    async def say(request: Any, _context: Context) -> Any:
        started.set()
        await release.wait()
        return request

    served = await serve({"Say": say})
    under_way = asyncio.ensure_future(served.method("Say")(text("hello")))
    await started.wait()
    stopping = asyncio.ensure_future(served.server.stop(30))
    await until(lambda: served.channel.get_state() is not grpc.ChannelConnectivity.READY)
    with pytest.raises(aio.AioRpcError) as refused:
        await served.method("Say")(text("late"), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not stopping.done()
    release.set()
    assert (await under_way).text == "hello"
    await stopping


async def test_stop_cancels_what_outlasts_the_grace(serve: Serve, text: Text) -> None:
    """What is under way at the end of the grace is cancelled, and its `finally` blocks run before the stop ends."""
    started = asyncio.Event()
    trace: list[str] = []

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        try:
            yield request
            started.set()
            await asyncio.Event().wait()
        finally:
            trace.append("cleaning up")
            await asyncio.sleep(0.05)
            trace.append("cleaned up")

    served = await serve({"Repeat": repeat})
    call = served.method("Repeat")(text("hello"))
    await call.read()
    await started.wait()
    await served.server.stop(0.05)
    trace.append("stopped")
    assert trace == ["cleaning up", "cleaned up", "stopped"]
    assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_stop_waits_for_calls_whose_client_left(serve: Serve, text: Text, until: Until) -> None:
    """A handler whose client hung up still cleans up before the stop ends."""
    started = asyncio.Event()
    trace: list[str] = []

    async def say(_request: Any, _context: Context) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            trace.append("cleaning up")
            await asyncio.sleep(0.05)
            trace.append("cleaned up")

    served = await serve({"Say": say})
    call = served.method("Say")(text("hello"))
    await started.wait()
    call.cancel()
    await until(lambda: trace)
    await served.server.stop(0)
    trace.append("stopped")
    assert trace == ["cleaning up", "cleaned up", "stopped"]


@pytest.mark.parametrize(
    ("path", "request_data"),
    [
        ("/grpc.health.v1.Health/Watch", b""),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"\x3a\x00"),
    ],
)
async def test_lasting_streams_do_not_hold_up_the_stop(serve: Serve, path: str, request_data: bytes) -> None:
    """Streams of health and reflection that a client leaves open end at once when the server stops."""
    served = await serve({"Say": echo})
    call = served.channel.stream_stream(path)()
    await call.write(request_data)
    await call.read()
    async with asyncio.timeout(20):
        await served.server.stop(3600)
    assert (await call.code(), await call.details()) == (grpc.StatusCode.UNAVAILABLE, "the server is stopping")


async def ask_without_reading(served: Any) -> Any:
    """Ask reflection for a file of 14 kB so often that its replies fill every buffer on the way."""
    call = served.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
    for _ in range(1000):
        await call.write(b"\x1a\x20google/protobuf/descriptor.proto")
    return call


async def test_streams_that_nobody_reads_do_not_hold_up_the_stop(serve: Serve) -> None:
    """A client that asks reflection for more than it ever reads does not keep the server."""
    served = await serve({"Say": echo})
    call = await ask_without_reading(served)
    async with asyncio.timeout(20):
        await served.server.stop(3600)
    assert not call.done()
    call.cancel()


async def test_calls_finish_while_nobody_reads_a_stream(serve: Serve, text: Text) -> None:
    """A call that is under way finishes within the grace, although a stream of reflection has to be cut off."""
    started, finish = asyncio.Event(), asyncio.Event()

    async def say(request: Any, _context: Context) -> Any:
        started.set()
        await finish.wait()
        return request

    served = await serve({"Say": say})
    call = await ask_without_reading(served)
    reply = asyncio.ensure_future(served.method("Say")(text("hello")))
    await started.wait()
    stopping = asyncio.ensure_future(served.server.stop(3600))
    # Longer than the streams are waited for.
    await asyncio.wait({stopping}, timeout=1.5)
    assert not stopping.done()
    finish.set()
    async with asyncio.timeout(20):
        await stopping
    assert (await reply).text == "hello"
    call.cancel()


async def test_stop_before_the_start_and_twice(serve: Serve) -> None:
    """Stopping is harmless at any time."""
    served = await serve({"Say": echo})
    await served.server.stop(0)
    await served.server.stop(0)
