"""What leaves a method is a payload, a status or a cancellation; nothing of an exception crosses the wire."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import LocalCall, running
from toolkit.errors import Abort, Code
from toolkit.runtime.dispatch import Codec

WriteModule = Callable[..., ModuleType]


async def status_of(call: Any) -> tuple[Code, str]:
    with pytest.raises(Abort) as caught:
        await call
    return caught.value.code, caught.value.message


FAILING = """
    @users.rpc
    async def create_user(request, context):
        if request.id == 1:
            raise Abort(Code.ALREADY_EXISTS, "there is one", details=[request])
        if request.id == 2:
            raise ValueError("secret text")
        if request.id == 3:
            raise SystemExit(3)
        if request.id == 4:
            return None
        if request.id == 5:
            return {"nmae": "x"}
        if request.id == 6:
            return context
        if request.id == 7:
            raise asyncio.CancelledError
        context.abort(Code.NOT_FOUND, "none")

    @users.rpc
    async def list_users(request):
        yield {"id": 1}
        if request.text == "abort":
            raise Abort(Code.OUT_OF_RANGE, "no more")
        raise ValueError("secret text")
"""


async def test_aborts_leave_as_they_are(module: WriteModule) -> None:
    """An Abort of a handler is the call's end, with its code, message and details."""
    async with running(module(FAILING)) as service:
        with pytest.raises(Abort) as caught:
            await service.call("CreateUser", id=1)
        assert (caught.value.code, caught.value.message) == (Code.ALREADY_EXISTS, "there is one")
        assert [detail.id for detail in caught.value.details] == [1]
        assert await status_of(service.call("CreateUser")) == (Code.NOT_FOUND, "none")
        assert await status_of(service.stream("ListUsers", text="abort")) == (Code.OUT_OF_RANGE, "no more")


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (2, ValueError("secret text")),
        (3, SystemExit(3)),
        (4, TypeError("the handler returned None, the method replies shop.v1.User")),
        (5, ValueError("shop.v1.User has no field 'nmae'; did you mean 'name'?")),
        (6, TypeError("expected shop.v1.User as a message, a dict or an attrs instance, got LocalCall")),
        (7, asyncio.CancelledError()),
    ],
)
async def test_any_other_error_is_an_id_for_the_client_and_a_traceback_for_the_log(
    module: WriteModule, number: int, cause: BaseException
) -> None:
    """The client gets INTERNAL and an error id and nothing else; the log has that id with the exception."""
    async with running(module(FAILING)) as service:
        with capture_logs() as events:
            code, message = await status_of(service.call("CreateUser", id=number))
    assert code is Code.INTERNAL
    assert re.fullmatch(r"internal error, id [0-9a-f]{12}", message)
    (event,) = events
    error = event.pop("exc_info")
    assert (type(error), str(error)) == (type(cause), str(cause))
    assert event == {
        "event": "toolkit.call_failed",
        "log_level": "error",
        "rpc_method": "/shop.v1.UserService/CreateUser",
        "error_id": message.rpartition(" ")[2],
    }


async def test_an_error_in_a_stream_ends_it_the_same_way(module: WriteModule) -> None:
    """Replies that were sent stay sent, and the stream ends with INTERNAL and an error id."""
    async with running(module(FAILING)) as service:
        replies = service.start("ListUsers", service.request("ListUsers"))
        assert (await anext(replies)).id == 1
        with capture_logs() as events:
            code, message = await status_of(anext(replies))
    assert code is Code.INTERNAL
    assert [event["error_id"] for event in events] == [message.rpartition(" ")[2]]


ECHO = """
    @users.rpc
    async def create_user(request, context):
        assert context.request is request
        return request

    @users.rpc
    async def import_users(requests, context):
        assert context.request is requests
        return {"id": sum([request.id async for request in requests])}

    @users.rpc
    async def list_users(request):
        yield {}
"""


async def test_an_undecodable_request_is_refused(module: WriteModule) -> None:
    """Bytes that are no message end with INVALID_ARGUMENT and the message's name, also in the middle of a stream."""
    async with running(module(ECHO)) as service:
        bad = b"\xff\xff\xff"
        expected = (Code.INVALID_ARGUMENT, "the request cannot be decoded as shop.v1.User")
        assert await status_of(service.call("CreateUser", bad)) == expected
        assert await status_of(service.call("ImportUsers", [b"\x08\x01", bad])) == expected
        assert await status_of(service.stream("ListUsers", bad)) == (
            Code.INVALID_ARGUMENT,
            "the request cannot be decoded as shop.v1.Query",
        )
        assert (await service.call("ImportUsers", [b"\x08\x01", b"\x08\x02"])).id == 3


async def test_a_codec_is_the_servers_choice(module: WriteModule) -> None:
    """One method is served over several codecs; a codec's own Abort passes."""
    async with running(module(ECHO)) as service:
        endpoint = service.endpoint("CreateUser")

        def decode(text: str) -> Any:
            if not text:
                raise Abort(Code.INVALID_ARGUMENT, "empty")
            return endpoint.request_class(name=text)

        def encode(message: Any) -> str:
            return f"<{message.name}>"

        serve = endpoint.serve(Codec(decode=decode, encode=encode))
        assert await serve(LocalCall(endpoint.declaration, "ann")) == "<ann>"
        assert await status_of(serve(LocalCall(endpoint.declaration, ""))) == (Code.INVALID_ARGUMENT, "empty")
        assert (await service.call("CreateUser", name="bob")).name == "bob"


async def test_a_reply_that_cannot_be_serialised_is_the_calls_error(module: WriteModule) -> None:
    """An error of the encoder is logged and hidden like one of the handler, and nothing is committed."""
    users = module("@users.rpc\nasync def create_user(request, *, pgsql: Session): return {}\n")
    async with running(users) as service:
        endpoint = service.endpoint("CreateUser")

        def encode(_message: Any) -> bytes:
            raise RuntimeError("cannot")

        serve = endpoint.serve(Codec(decode=endpoint.request_class.FromString, encode=encode))
        with capture_logs() as events:
            code, _ = await status_of(serve(LocalCall(endpoint.declaration, b"")))
        assert code is Code.INTERNAL
        assert [event["event"] for event in events] == ["toolkit.call_failed"]
        assert service.database.events == ["close 1"]


WAITING = """
    gate = asyncio.Event()
    log = []

    @users.rpc
    async def create_user(request):
        try:
            log.append("waiting")
            await gate.wait()
            return {}
        finally:
            await asyncio.sleep(0)
            log.append("finally")

    @users.rpc
    async def list_users(request):
        try:
            yield {"id": 1}
            await gate.wait()
            yield {"id": 2}
        finally:
            await asyncio.sleep(0)
            log.append("finally")
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_cancelled_call_stays_cancelled(module: WriteModule) -> None:
    """Cancelling the task of a call cancels its handler, runs its `finally`, and raises CancelledError."""
    users = module(WAITING)
    async with running(users) as service:
        task = asyncio.create_task(service.call("CreateUser"))
        await until(lambda: users.log == ["waiting"])
        assert service.dispatcher.in_flight == {task}
        task.cancel()
        with capture_logs() as events, pytest.raises(asyncio.CancelledError):
            await task
        assert users.log == ["waiting", "finally"]
        assert not events
        assert not service.dispatcher.in_flight


async def test_running_calls_can_be_waited_for(module: WriteModule) -> None:
    """`wait_idle` returns when the last call is over, `finally` blocks included; with no call it returns at once."""
    users = module(WAITING)
    async with running(users) as service:
        await service.dispatcher.wait_idle()
        one = asyncio.create_task(service.call("CreateUser"))
        await until(lambda: users.log == ["waiting"])
        idle = asyncio.create_task(service.dispatcher.wait_idle())
        await asyncio.sleep(0)
        users.gate.set()
        async with asyncio.timeout(5):
            await asyncio.gather(one, idle)
        users.gate.clear()
        users.log.clear()
        calls = [asyncio.create_task(service.call("CreateUser")) for _ in range(3)]
        stream = asyncio.create_task(service.stream("ListUsers"))
        await until(lambda: len(service.dispatcher.in_flight) == 4)
        idle = asyncio.create_task(service.dispatcher.wait_idle())
        await asyncio.sleep(0)
        assert not idle.done()
        users.gate.set()
        async with asyncio.timeout(5):
            await idle
        assert users.log.count("finally") == 4
        await asyncio.gather(*calls, stream)


async def test_a_stream_that_nobody_reads_on_is_closed(module: WriteModule) -> None:
    """Closing a stream early runs the handler's `finally` and ends the call."""
    users = module(WAITING)
    async with running(users) as service:
        replies = service.start("ListUsers", service.request("ListUsers"))
        assert (await anext(replies)).id == 1
        assert len(service.dispatcher.in_flight) == 1
        await replies.aclose()
        assert users.log == ["finally"]
        assert not service.dispatcher.in_flight


async def test_an_error_while_a_stream_is_closed_is_logged(module: WriteModule) -> None:
    """Whoever closes a stream is not bothered with what goes wrong in it; the log is."""
    users = module(
        """
        @users.rpc
        async def list_users(request):
            try:
                yield {}
            finally:
                raise OSError("late")
        """
    )
    async with running(users) as service:
        replies = service.start("ListUsers", service.request("ListUsers"))
        await anext(replies)
        with capture_logs() as events:
            await replies.aclose()
        assert [(event["event"], str(event["exc_info"])) for event in events] == [("toolkit.call_failed", "late")]
        assert not service.dispatcher.in_flight


async def test_a_thousand_calls_at_once_do_not_mix(module: WriteModule) -> None:
    """Concurrent calls have views, components and replies of their own."""
    users = module(
        """
        @component
        class Repository:
            def __init__(self, pgsql: Session): self.session = pgsql

        @users.rpc
        async def create_user(request, context, *, pgsql: Session, repository: Repository):
            before = pgsql.number
            for _ in range(request.id % 7):
                await asyncio.sleep(0)
            assert repository.session is pgsql and pgsql.number == before and pgsql.state == "open"
            return {"id": request.id, "name": str(pgsql.number)}
        """
    )
    async with running(users) as service:
        replies = await asyncio.gather(*(service.call("CreateUser", id=number) for number in range(1000)))
        assert [reply.id for reply in replies] == list(range(1000))
        assert sorted(int(reply.name) for reply in replies) == list(range(1, 1001))
        assert sum(event.startswith("committed") for event in service.database.events) == 1000
        assert not service.dispatcher.in_flight


async def test_one_module_serves_several_apps_at_once(module: WriteModule) -> None:
    """Two Apps may bind the same module: each call meets its own App's plugins, and message references work in both."""
    users = module(
        """
        User = users.message("User")

        @users.rpc
        async def create_user(request, *, pgsql: Database):
            return User(id=id(pgsql), name=request.name)
        """
    )
    with pytest.raises(RuntimeError, match="used before an App had read the manifest"):
        users.User()
    async with running(users) as one:
        async with running(users) as two:
            replies = await asyncio.gather(one.call("CreateUser", name="1"), two.call("CreateUser", name="2"))
            assert [(reply.id, reply.name) for reply in replies] == [(id(one.database), "1"), (id(two.database), "2")]
        assert (await one.call("CreateUser", name="3")).name == "3"
    with pytest.raises(RuntimeError):
        users.User()
