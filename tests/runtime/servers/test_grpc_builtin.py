"""How streams of the server's own methods end, at every moment at which they can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from toolkit.runtime.servers.grpc_builtin import BuiltinMethods
from toolkit.runtime.servers.grpc_call import RequestStream


class Servicer:
    """The part of the engine's call that a stream uses; a write takes as long as the test likes."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.writing = asyncio.Event()
        self.sent = asyncio.Event()

    async def read(self) -> Any:
        return aio.EOF

    async def write(self, reply: bytes) -> None:
        self.writing.set()
        try:
            await self.sent.wait()
        except asyncio.CancelledError:
            self.trace.append("cut short")
            raise
        self.trace.append(f"sent {reply.decode()}")

    async def abort(self, code: grpc.StatusCode, message: str, _trailing: Any) -> None:
        self.trace.append(f"{code.name}: {message}")
        raise aio.AbortError


def begin(methods: BuiltinMethods, servicer: Servicer, replies: Callable[..., Any]) -> asyncio.Task[None]:
    methods.add_stream("/stream", replies)
    handler: Any = methods.handlers["/stream"]
    return asyncio.create_task(handler.stream_stream(None, servicer))


async def endless(_requests: RequestStream) -> AsyncGenerator[bytes, None]:
    while True:
        yield b"reply"


async def silent(_requests: RequestStream) -> AsyncGenerator[bytes, None]:
    await asyncio.Event().wait()
    yield b"never"


async def test_end_during_a_write() -> None:
    """A write that is under way is not cut short, for no status could follow it: the status comes after it."""
    methods, servicer = BuiltinMethods(), Servicer()
    stream = begin(methods, servicer, endless)
    await servicer.writing.wait()
    ending = asyncio.create_task(methods.end(20))
    await asyncio.sleep(0)
    servicer.sent.set()
    assert await ending
    with pytest.raises(aio.AbortError):
        await stream
    assert servicer.trace == ["sent reply", "UNAVAILABLE: the server is stopping"]


async def test_end_before_a_reply() -> None:
    """A stream that has nothing to say yet ends at once."""
    methods, servicer = BuiltinMethods(), Servicer()
    stream = begin(methods, servicer, silent)
    await asyncio.sleep(0)
    assert await methods.end(20)
    with pytest.raises(aio.AbortError):
        await stream
    assert servicer.trace == ["UNAVAILABLE: the server is stopping"]


async def test_begin_after_the_end() -> None:
    """A stream that begins after the end ends at once."""
    methods, servicer = BuiltinMethods(), Servicer()
    assert await methods.end(20)
    with pytest.raises(aio.AbortError):
        await begin(methods, servicer, endless)
    assert servicer.trace == ["UNAVAILABLE: the server is stopping"]


async def test_end_of_a_write_that_never_is_sent() -> None:
    """The end does not wait for ever for a client that does not read, and says so."""
    methods, servicer = BuiltinMethods(), Servicer()
    stream = begin(methods, servicer, endless)
    await servicer.writing.wait()
    assert not await methods.end(0.01)
    assert servicer.trace == []
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert servicer.trace == ["cut short"]


async def test_cancelled_while_the_server_stops() -> None:
    """A stream whose client hung up at that very moment ends without a status."""
    methods, servicer = BuiltinMethods(), Servicer()
    stream = begin(methods, servicer, silent)
    await asyncio.sleep(0)
    stream.cancel()
    assert await methods.end(20)
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert servicer.trace == []
