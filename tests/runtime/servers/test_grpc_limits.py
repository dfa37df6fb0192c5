"""What ends a call before its handler does: deadlines, cancellation, sizes, and too many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio
from structlog.testing import capture_logs

from toolkit.errors import Abort, Code
from toolkit.runtime.call import Context

Serve = Callable[..., Awaitable[Any]]
Text = Callable[[str], Any]
Until = Callable[..., Awaitable[None]]


async def echo(request: Any, _context: Context) -> Any:
    return request


async def failure_of(call: Awaitable[Any]) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


class Hanging:
    """Handlers that wait for ever and note how they end."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: list[str] = []

    async def say(self, _request: Any, _context: Context) -> Any:
        """Never reply."""
        async with self:
            await asyncio.Event().wait()

    async def repeat(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        """Reply once."""
        async with self:
            yield request
            await asyncio.Event().wait()

    async def flood(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        """Reply for ever."""
        async with self:
            while True:
                yield request

    async def collect(self, requests: AsyncIterator[Any], _context: Context) -> Any:
        """Reply when the client has sent everything."""
        async with self:
            return [request async for request in requests][-1]

    async def __aenter__(self) -> None:
        self.started += 1

    async def __aexit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        # A `finally` block may take its time.
        await asyncio.sleep(0)
        self.ended.append(kind.__name__ if kind else "well")


async def test_time_remaining(serve: Serve, text: Text) -> None:
    """A handler sees how much time its caller gives it; None when that is unbounded."""
    seen: list[float | None] = []

    async def say(request: Any, context: Context) -> Any:
        seen.append(context.time_remaining())
        return request

    served = await serve({"Say": say})
    await served.method("Say")(text("hello"), timeout=60)
    await served.method("Say")(text("hello"))
    assert seen[0] is not None
    # Client and server round, each in its own way.
    assert 30 < seen[0] < 61
    assert seen[1] is None


@pytest.mark.parametrize(("method", "handler"), [("Say", "say"), ("Repeat", "repeat")])
async def test_deadline(serve: Serve, text: Text, until: Until, method: str, handler: str) -> None:
    """When the deadline passes, the client sees DEADLINE_EXCEEDED and the handler is cancelled."""
    hanging = Hanging()
    served = await serve({method: getattr(hanging, handler)})
    call = served.method(method)(text("hello"), timeout=0.2)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: hanging.ended)
    assert hanging.ended == ["CancelledError"]


async def test_deadline_that_the_client_does_not_watch(serve: Serve, text: Text, until: Until) -> None:
    """The server keeps to a deadline also when the client asks for it and then waits on."""
    hanging = Hanging()
    served = await serve({"Say": hanging.say})
    host, _, port = served.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/echo.v1.Echo/Say",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-timeout": "200m",
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in headers.items()
    )
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
    writer.write(_frame(1, 4, 1, block) + _frame(0, 1, 1, b"\x00\x00\x00\x00\x00"))
    await until(lambda: hanging.ended)
    assert hanging.ended == ["CancelledError"]
    ending = set[int]()
    async with asyncio.timeout(5):
        while not ending & {1, 3}:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if int.from_bytes(head[5:], "big") == 1:
                ending.add(head[3])
    writer.close()
    await writer.wait_closed()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    ("method", "handler", "ending"),
    [("Say", "say", "CancelledError"), ("Repeat", "repeat", "CancelledError"), ("Repeat", "flood", "GeneratorExit")],
)
async def test_client_cancels(serve: Serve, text: Text, until: Until, method: str, handler: str, ending: str) -> None:
    """A client that hangs up ends its handler, whose `finally` blocks run at once."""
    hanging = Hanging()
    served = await serve({method: getattr(hanging, handler)})
    call = served.method(method)(text("hello"))
    await until(lambda: hanging.started)
    call.cancel()
    await until(lambda: hanging.ended)
    assert hanging.ended in (["CancelledError"], [ending])


async def test_cancelled_upload_is_not_taken_for_a_whole_one(serve: Serve, text: Text, until: Until) -> None:
    """A client stream that breaks off cancels its handler; it never looks like one that ended."""
    hanging = Hanging()
    served = await serve({"Collect": hanging.collect})
    for number in range(100):
        call = served.method("Collect")()
        await call.write(text("half of it"))
        await until(lambda number=number: hanging.started == number + 1)
        call.cancel()
        await until(lambda number=number: len(hanging.ended) == number + 1)
    assert set(hanging.ended) == {"CancelledError"}


async def test_cancelled_from_within(serve: Serve, text: Text) -> None:
    """A CancelledError that did not come from the client ends the call with a status, not with silence."""

    async def say(_request: Any, _context: Context) -> Any:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    served = await serve({"Say": say})
    error = await failure_of(served.method("Say")(text("hello"), timeout=5))
    assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, "the call was cancelled by the server")


@pytest.mark.parametrize("ending", ["reply", "abort", "raise"])
@pytest.mark.parametrize("method", ["Say", "Repeat"])
async def test_handler_that_ignores_its_cancellation(
    serve: Serve, text: Text, until: Until, method: str, ending: str
) -> None:
    """Whatever a handler does for a client that has left, nothing is logged and the server goes on."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def hold_on(request: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "abort":
                raise Abort(Code.ABORTED, "too late") from None
            if ending == "raise":
                raise asyncio.CancelledError from None
        return request

    async def say(request: Any, _context: Context) -> Any:
        try:
            return await hold_on(request)
        finally:
            ended.set()

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        try:
            yield await hold_on(request)
        finally:
            ended.set()

    served = await serve({"Say": say, "Repeat": repeat})
    with capture_logs() as events:
        call = served.method(method)(text("hello"))
        await started.wait()
        call.cancel()
        await ended.wait()
        await served.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        await until(lambda: not served.server._calls.active)
    assert events == []


async def test_request_too_large(serve: Serve, text: Text) -> None:
    """A request larger than the limit is refused, and one of just that size is not."""
    served = await serve({"Say": echo}, max_receive_message_size=1000, max_send_message_size=2000)
    # Tag and length take three bytes.
    assert len((await served.method("Say")(text("x" * 997))).text) == 997
    error = await failure_of(served.method("Say")(text("x" * 998)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_reply_too_large(serve: Serve, text: Text) -> None:
    """A reply larger than the limit is not sent; the client is told both sizes."""

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        yield request
        yield text(request.text * 2)

    served = await serve({"Say": echo, "Repeat": repeat}, max_send_message_size=1000)
    assert len((await served.method("Say")(text("x" * 997))).text) == 997
    error = await failure_of(served.method("Say")(text("x" * 998)))
    message = "the reply has 1001 bytes; this server sends 1000 at most"
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    call = served.method("Repeat")(text("x" * 499))
    assert len((await call.read()).text) == 499
    error = await failure_of(call.read())
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, message)


async def test_too_many_calls(serve: Serve, text: Text, until: Until) -> None:
    """Calls beyond the limit are refused until one of those under way ends; health still answers."""
    hanging = Hanging()
    served = await serve({"Say": echo, "Repeat": hanging.repeat, "Collect": hanging.collect}, max_concurrent_calls=2)
    first, second = served.method("Repeat")(text("1")), served.method("Repeat")(text("2"))
    await until(lambda: hanging.started == 2)
    for refused in (served.method("Say")(text("3")), served.method("Repeat")(text("3")).read()):
        error = await failure_of(refused)
        assert (error.code(), error.details()) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "2 calls are under way, the most there may be",
        )
    await served.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    first.cancel()
    await until(lambda: hanging.ended)
    assert (await served.method("Say")(text("4"))).text == "4"
    second.cancel()


async def test_refused_before_the_request_is_read(serve: Serve, text: Text, until: Until) -> None:
    """A call beyond the limit is refused as soon as it begins, whatever it would have sent."""
    hanging = Hanging()
    served = await serve({"Say": echo, "Repeat": hanging.repeat}, max_concurrent_calls=1)
    under_way = served.method("Repeat")(text("1"))
    await until(lambda: hanging.started)
    silent = served.channel.stream_unary("/echo.v1.Echo/Say")()
    assert await asyncio.wait_for(silent.code(), 5) is grpc.StatusCode.RESOURCE_EXHAUSTED
    under_way.cancel()


@pytest.mark.parametrize(("method", "make"), [("Say", "stream_unary"), ("Repeat", "stream_stream")])
async def test_calls_whose_requests_come_late(serve: Serve, until: Until, method: str, make: str) -> None:
    """The limit holds for calls that began before it was reached and send their request after."""
    hanging = Hanging()
    served = await serve({"Say": hanging.say, "Repeat": hanging.repeat}, max_concurrent_calls=2)
    calls = [getattr(served.channel, make)(f"/echo.v1.Echo/{method}")() for _ in range(3)]
    # Comes after the heads of the three, on the same connection.
    await served.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    for call in calls:
        await call.write(b"")
    await until(lambda: any(call.done() for call in calls))
    await until(lambda: hanging.started == 2)
    refused = [call for call in calls if call.done()]
    assert [await call.code() for call in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    for call in calls:
        call.cancel()


async def test_burst_of_calls(serve: Serve, text: Text) -> None:
    """However many calls arrive at once, no more than the limit run together, and all get an answer."""
    running = most = 0

    async def say(request: Any, _context: Context) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return request

    served = await serve({"Say": say}, max_concurrent_calls=5)
    say_it = served.method("Say")
    outcomes = await asyncio.gather(*(say_it(text("x")) for _ in range(200)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, aio.AioRpcError)]
    assert most == 5
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(refused) + sum(hasattr(outcome, "text") for outcome in outcomes) == 200
