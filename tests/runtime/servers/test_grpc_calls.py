"""Calls over a real gRPC server: what goes in, what comes out, and every way in which one ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]  # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it has no stubs
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


async def test_unary(serve: Serve, text: Text) -> None:
    """One message goes in and one comes out."""
    served = await serve({"Say": echo})
    assert (await served.method("Say")(text("hello"))).text == "hello"


async def test_server_streaming(serve: Serve, text: Text) -> None:
    """One message goes in and any number comes out, in order."""

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        for number in range(3):
            yield text(f"{request.text} {number}")

    served = await serve({"Repeat": repeat})
    assert [reply.text async for reply in served.method("Repeat")(text("hey"))] == ["hey 0", "hey 1", "hey 2"]


async def test_server_streaming_of_nothing(serve: Serve, text: Text) -> None:
    """A stream without a message ends well."""

    async def repeat(_request: Any, _context: Context) -> AsyncIterator[Any]:
        for reply in list[Any]():
            yield reply

    served = await serve({"Repeat": repeat})
    call = served.method("Repeat")(text("hey"))
    assert [reply async for reply in call] == []
    assert await call.code() is grpc.StatusCode.OK


async def test_client_streaming(serve: Serve, text: Text) -> None:
    """Any number of messages goes in and one comes out."""

    async def collect(requests: AsyncIterator[Any], _context: Context) -> Any:
        return text("+".join([request.text async for request in requests]))

    served = await serve({"Collect": collect})
    assert (await served.method("Collect")(text(word) for word in "abc")).text == "a+b+c"


async def test_bidirectional_streaming(serve: Serve, text: Text) -> None:
    """Each message can be answered before the next one is sent."""

    async def chat(requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            yield text(request.text.upper())
        yield text("bye")

    served = await serve({"Chat": chat})
    call = served.method("Chat")()
    await call.write(text("one"))
    assert (await call.read()).text == "ONE"
    await call.write(text("two"))
    assert (await call.read()).text == "TWO"
    await call.done_writing()
    assert (await call.read()).text == "bye"
    assert await call.read() is aio.EOF


async def test_metadata_in(serve: Serve, text: Text) -> None:
    """A handler reads the caller's metadata, text and binary, repeated keys included."""
    seen: list[Any] = []

    async def say(request: Any, context: Context) -> Any:
        metadata = context.metadata
        seen.extend([metadata["X-Tenant"], metadata["trace-bin"], metadata.get_all("tag"), metadata.get("absent")])
        return request

    served = await serve({"Say": say})
    await served.method("Say")(
        text("hello"),
        metadata=(("x-tenant", "acme"), ("trace-bin", b"\x00\xff"), ("tag", "a"), ("tag", "b")),
    )
    assert seen == ["acme", b"\x00\xff", ["a", "b"], None]


async def test_metadata_out(serve: Serve, text: Text) -> None:
    """Initial metadata goes before the reply and trailing metadata after it; keys are sent in lower case."""

    async def say(request: Any, context: Context) -> Any:
        await context.send_metadata(("X-First", "1"), ("first-bin", b"\x01\xff"))
        context.add_trailing_metadata(("X-Last", "2"))
        context.add_trailing_metadata(("last-bin", b"\x02\xff"))
        return request

    served = await serve({"Say": say})
    call = served.method("Say")(text("hello"))
    initial = dict(await call.initial_metadata())
    await call
    assert (initial["x-first"], initial["first-bin"]) == ("1", b"\x01\xff")
    trailing = dict(await call.trailing_metadata())
    assert (trailing["x-last"], trailing["last-bin"]) == ("2", b"\x02\xff")


async def test_metadata_out_of_a_stream(serve: Serve, text: Text) -> None:
    """A stream's trailing metadata is sent after its last message, also when it ends with an error."""

    async def repeat(request: Any, context: Context) -> AsyncIterator[Any]:
        yield request
        context.add_trailing_metadata(("count", "1"))
        if request.text == "fail":
            raise Abort(Code.DATA_LOSS, "no more")

    served = await serve({"Repeat": repeat})
    for word, code in (("well", grpc.StatusCode.OK), ("fail", grpc.StatusCode.DATA_LOSS)):
        call = served.method("Repeat")(text(word))
        assert (await call.read()).text == word
        assert await call.code() is code
        assert dict(await call.trailing_metadata())["count"] == "1"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("grpc-status", "0"), "metadata key 'grpc-status': letters, digits, '-', '_' and '.', and not under 'grpc-'"),
        (("a b", "0"), "metadata key 'a b': letters, digits, '-', '_' and '.', and not under 'grpc-'"),
        (("x-bin", "0"), "metadata 'x-bin' takes bytes, for its key ends in '-bin'; got str"),
        (("x", b"0"), "metadata 'x' takes text; bytes goes under a key that ends in '-bin'"),
        (("x", "é"), "metadata 'x' takes printable ASCII; anything else goes as bytes under 'x-bin'"),
        (("x", "a\r\nb: c"), "metadata 'x' takes printable ASCII; anything else goes as bytes under 'x-bin'"),
    ],
)
async def test_metadata_that_cannot_be_sent(serve: Serve, text: Text, pair: Any, message: str) -> None:
    """Metadata that the protocol cannot carry is refused where the handler adds it."""
    errors: list[str] = []

    async def say(request: Any, context: Context) -> Any:
        for add in (context.add_trailing_metadata, context.send_metadata):
            try:
                sent = add(pair)
                if sent is not None:
                    await sent
            except (TypeError, ValueError) as error:
                errors.append(str(error))
        return request

    served = await serve({"Say": say})
    assert (await served.method("Say")(text("hello"))).text == "hello"
    assert errors == [message, message]


async def test_trailing_metadata_set_past_the_check(serve: Serve, text: Text) -> None:
    """Bad trailing metadata that a handler put there itself fails the call, and does not hang its client."""

    async def say(request: Any, context: Context) -> Any:
        context.trailing_metadata = [("a b", "0")]
        if request.text == "abort":
            raise Abort(Code.NOT_FOUND)
        return request

    served = await serve({"Say": say})
    for word in ("return", "abort"):
        with capture_logs() as events:
            error = await failure_of(served.method("Say")(text(word), timeout=5))
        assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
        assert [(event["event"], event["method"]) for event in events] == [
            ("toolkit.grpc_call_failed", "/echo.v1.Echo/Say")
        ]


async def test_initial_metadata_twice(serve: Serve, text: Text) -> None:
    """Initial metadata can be sent once; the second time says so."""
    errors: list[str] = []

    async def say(request: Any, context: Context) -> Any:
        await context.send_metadata(("a", "1"))
        try:
            await context.send_metadata(("b", "2"))
        except RuntimeError as error:
            errors.append(str(error))
        return request

    served = await serve({"Say": say})
    await served.method("Say")(text("hello"))
    assert errors == ["initial metadata was already sent, or went with the first reply"]


async def test_peer(serve: Serve, text: Text) -> None:
    """A handler sees its caller's address."""

    async def say(_request: Any, context: Context) -> Any:
        return text(context.peer)

    served = await serve({"Say": say})
    assert (await served.method("Say")(text("?"))).text.startswith("ipv4:127.0.0.1:")


async def test_context_outlives_its_call(serve: Serve, text: Text) -> None:
    """What a context has not read before the reply is refused after it; what it has read stays."""
    contexts: list[Context] = []

    async def say(request: Any, context: Context) -> Any:
        if request.text == "read":
            assert context.metadata
        contexts.append(context)
        return request

    served = await serve({"Say": say})
    await served.method("Say")(text("read"), metadata=(("tenant", "acme"),))
    await served.method("Say")(text("not read"))
    assert contexts[0].metadata["tenant"] == "acme"
    for read, name in (
        (lambda: contexts[1].metadata, "invocation_metadata"),
        (lambda: contexts[1].peer, "peer"),
        (contexts[1].time_remaining, "time_remaining"),
    ):
        with pytest.raises(RuntimeError) as caught:
            read()
        assert str(caught.value) == (
            f"the call is over: what a task of its own needs of it ({name}) is read before the reply"
        )


async def test_abort(serve: Serve, text: Text) -> None:
    """An Abort's code and message reach the client, whatever characters the message has."""

    async def say(request: Any, _context: Context) -> Any:
        raise Abort(Code[request.text], "Käse: 100 % → \n 'x'")

    served = await serve({"Say": say})
    for code in Code:
        if code is not Code.OK:
            error = await failure_of(served.method("Say")(text(code.name)))
            assert (error.code().name, error.details()) == (code.name, "Käse: 100 % → \n 'x'")


async def test_abort_with_details(serve: Serve, text: Text) -> None:
    """Details arrive as google.rpc.Status: generated messages, the manifest's own, and ready-made Any."""
    violation = BadRequest.FieldViolation(field="email", description="is no address")
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason="BLOCKED"))

    async def say(request: Any, context: Context) -> Any:
        context.add_trailing_metadata(("x-last", "1"))
        context.abort(
            Code.INVALID_ARGUMENT,
            "no such user",
            details=[BadRequest(field_violations=[violation]), request, packed],
        )

    served = await serve({"Say": say})
    error = await failure_of(served.method("Say")(text("me")))
    trailing = dict(error.trailing_metadata() or ())
    assert trailing["x-last"] == "1"
    status = Status.FromString(trailing["grpc-status-details-bin"])
    assert (status.code, status.message) == (3, "no such user")
    first, second, third = BadRequest(), text(""), ErrorInfo()
    for found, wanted in zip(status.details, (first, second, third), strict=True):
        assert found.Unpack(wanted)
    assert first.field_violations[0].field == "email"
    assert second.text == "me"
    assert third.reason == "BLOCKED"


async def test_details_that_are_no_messages(serve: Serve, text: Text) -> None:
    """Details which cannot be sent are logged, and the client is told nothing of them."""

    async def say(_request: Any, _context: Context) -> Any:
        raise Abort(Code.NOT_FOUND, "no such user", details=["secret"])

    served = await serve({"Say": say})
    with capture_logs() as events:
        error = await failure_of(served.method("Say")(text("me")))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert [event["event"] for event in events] == ["toolkit.grpc_call_failed"]


async def test_stream_aborts_after_replies(serve: Serve, text: Text) -> None:
    """What was streamed before an Abort arrives, and then the status."""

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        yield request
        raise Abort(Code.ABORTED, "enough")

    served = await serve({"Repeat": repeat})
    call = served.method("Repeat")(text("hey"))
    assert (await call.read()).text == "hey"
    error = await failure_of(call.read())
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "enough")


async def test_text_of_exceptions_stays_here(serve: Serve, text: Text) -> None:
    """What escapes dispatch by mistake is logged, and reaches the client as INTERNAL without its text."""

    async def say(_request: Any, _context: Context) -> Any:
        raise LookupError("password=hunter2")

    async def repeat(request: Any, _context: Context) -> AsyncIterator[Any]:
        yield request
        raise LookupError("password=hunter2")

    served = await serve({"Say": say, "Repeat": repeat})
    with capture_logs() as events:
        error = await failure_of(served.method("Say")(text("me")))
        stream = served.method("Repeat")(text("me"))
        await stream.read()
        streamed = await failure_of(stream.read())
    for seen in (error, streamed):
        assert (seen.code(), seen.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert [(event["event"], event["method"]) for event in events] == [
        ("toolkit.grpc_call_failed", "/echo.v1.Echo/Say"),
        ("toolkit.grpc_call_failed", "/echo.v1.Echo/Repeat"),
    ]
    assert [type(event["exc_info"]) for event in events] == [LookupError, LookupError]


async def test_undecodable_request(serve: Serve) -> None:
    """Bytes that are no message of the method's type end with INVALID_ARGUMENT."""
    served = await serve({"Say": echo})
    error = await failure_of(served.channel.unary_unary("/echo.v1.Echo/Say")(b"\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/echo.v1.Echo/Shout", "the service echo.v1.Echo has no method 'Shout' here"),
        ("/echo.v1.Ocho/Say", "the service 'echo.v1.Ocho' is not served here"),
        ("/grpc.health.v1.Health/Chek", "the service grpc.health.v1.Health has no method 'Chek' here"),
        ("nonsense", "the service '' is not served here"),
    ],
)
async def test_unknown_method(serve: Serve, path: str, message: str) -> None:
    """A method that is not served ends with UNIMPLEMENTED, naming what is missing."""
    served = await serve({"Say": echo})
    error = await failure_of(served.channel.unary_unary(path)(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, message)
