"""Reply serialised, then committed, then sent; what fails is rolled back, whatever happens to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import SHOP, LocalCall, Running, plan_of, running, shop
from toolkit.errors import Abort, BindingError, Code
from toolkit.runtime.dispatch import Codec

WriteModule = Callable[..., ModuleType]

HANDLERS = """
    @users.rpc
    async def create_user(request, context, *, pgsql: Session):
        pgsql.used = request.name != "unused"
        if request.name == "publish":
            async def publish():
                pgsql.database.events.append("published")
            context.after_commit(lambda: pgsql.database.events.append("noted"))
            context.after_commit(publish)
        if request.name == "bad publish":
            def fail(): raise OSError("no broker")
            context.after_commit(fail)
            context.after_commit(lambda: pgsql.database.events.append("published"))
        if request.name == "fail":
            context.after_commit(lambda: pgsql.database.events.append("published"))
            raise ValueError
        if request.name == "wait":
            await asyncio.Event().wait()
        return {"id": pgsql.number}

    @users.rpc
    async def import_users(requests, *, pgsql: Session):
        return {"id": len([request async for request in requests])}

    @users.rpc
    async def list_users(request, context):
        context.after_commit(lambda: done.append("after"))
        yield {}
        done.append("sent")

    @users.rpc
    async def ping(request, context):
        context.after_commit(lambda: done.append("after"))
        return {}

    done = []
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def internal(call: Any) -> None:
    with pytest.raises(Abort) as caught:
        await call
    assert caught.value.code is Code.INTERNAL


async def test_the_reply_is_serialised_before_the_commit(module: WriteModule) -> None:
    """Handler, serialisation, commit, close, and only then the payload leaves."""
    async with running(module(HANDLERS)) as service:
        endpoint, events = service.endpoint("CreateUser"), service.database.events

        def encode(message: Any) -> bytes:
            events.append("serialised")
            return bytes(message.SerializeToString())

        serve = endpoint.serve(Codec(decode=endpoint.request_class.FromString, encode=encode))
        await serve(LocalCall(endpoint.declaration, b""))
        events.append("sent")
        assert events == ["serialised", "commit 1", "committed 1", "close 1", "sent"]


async def test_client_streams_have_call_scoped_views(module: WriteModule) -> None:
    """A method that reads a stream and replies once commits like any other."""
    async with running(module(HANDLERS)) as service:
        assert (await service.call("ImportUsers", [b"", b""])).id == 2
        assert service.database.events == ["commit 1", "committed 1", "close 1"]


async def test_a_view_that_was_not_used_costs_nothing(module: WriteModule) -> None:
    """Neither commit nor close is called for a view with which nothing was done."""
    async with running(module(HANDLERS)) as service:
        await service.call("CreateUser", name="unused")
        assert service.database.events == []


async def test_a_failing_handler_rolls_back(module: WriteModule) -> None:
    """After an error the view is closed without a commit, and nothing runs that waits for one."""
    async with running(module(HANDLERS)) as service:
        with capture_logs():
            await internal(service.call("CreateUser", name="fail"))
        assert service.database.events == ["close 1"]


async def test_a_failing_commit_is_the_calls_error(module: WriteModule) -> None:
    """What a commit raises ends the call with INTERNAL, after the view was closed."""
    async with running(module(HANDLERS)) as service:
        service.database.fail_commit = OSError("disk full")
        with capture_logs() as events:
            await internal(service.call("CreateUser", name="publish"))
        assert service.database.events == ["commit 1", "close 1"]
        assert [(event["event"], str(event["exc_info"])) for event in events] == [("toolkit.call_failed", "disk full")]


async def test_a_commit_may_end_the_call_with_a_status(module: WriteModule) -> None:
    """An Abort that a commit raises reaches the client as it is."""
    async with running(module(HANDLERS)) as service:
        service.database.fail_commit = Abort(Code.ABORTED, "try again")
        with pytest.raises(Abort, match="try again"):
            await service.call("CreateUser")


async def test_a_view_that_does_not_close_is_logged(module: WriteModule) -> None:
    """A failing close changes nothing for the client, after success and after failure."""
    async with running(module(HANDLERS)) as service:
        service.database.fail_close = OSError("gone")
        with capture_logs() as events:
            assert (await service.call("CreateUser")).id == 1
            await internal(service.call("CreateUser", name="fail"))
        closes = [event for event in events if event["event"] == "toolkit.view_close_failed"]
        assert [(event["prefix"], event["view"], str(event["exc_info"])) for event in closes] == [
            ("pgsql", "Session", "gone")
        ] * 2


async def test_after_commit_runs_when_all_is_committed(module: WriteModule) -> None:
    """Functions given to after_commit run in order, after the commit, plain or async."""
    async with running(module(HANDLERS)) as service:
        await service.call("CreateUser", name="publish")
        assert service.database.events == ["commit 1", "committed 1", "close 1", "noted", "published"]


async def test_a_failing_after_commit_is_logged_and_no_more(module: WriteModule) -> None:
    """The work is done: the reply is sent, the other functions run, and the log names the one that failed."""
    async with running(module(HANDLERS)) as service:
        with capture_logs() as events:
            assert (await service.call("CreateUser", name="bad publish")).id == 1
        assert service.database.events[-1] == "published"
        assert [(event["event"], event["function"], str(event["exc_info"])) for event in events] == [
            ("toolkit.after_commit_failed", "create_user.<locals>.fail", "no broker")
        ]


async def test_after_commit_needs_no_view(module: WriteModule) -> None:
    """Where nothing is committed it runs after the handler, and for a stream after its last reply."""
    users = module(HANDLERS)
    async with running(users) as service:
        await service.call("Ping")
        assert users.done == ["after"]
        users.done.clear()
        await service.stream("ListUsers")
        assert users.done == ["sent", "after"]


async def test_a_cancelled_handler_rolls_back(module: WriteModule) -> None:
    """Cancelling a call in its handler closes its view without a commit."""
    async with running(module(HANDLERS)) as service:
        task = asyncio.create_task(service.call("CreateUser", name="wait"))
        await until(lambda: service.database.opened == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.database.events == ["close 1"]


async def start_commit(service: Running, **fields: Any) -> asyncio.Task[Any]:
    service.database.gate = asyncio.Event()
    task = asyncio.create_task(service.call("CreateUser", **fields))
    await until(lambda: service.database.events == ["commit 1"])
    return task


async def test_a_commit_is_not_torn_by_a_cancellation(module: WriteModule) -> None:
    """A call that is cancelled while it commits finishes that, closes, and is cancelled then."""
    async with running(module(HANDLERS)) as service:
        task = await start_commit(service, name="publish")
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        assert service.database.gate is not None
        service.database.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.database.events == ["commit 1", "committed 1", "close 1", "noted", "published"]
        assert not service.dispatcher.in_flight


async def test_a_commit_that_fails_for_a_cancelled_call_is_logged(module: WriteModule) -> None:
    """When nobody can be told any more that a commit failed, the log says so."""
    async with running(module(HANDLERS)) as service:
        task = await start_commit(service)
        service.database.fail_commit = OSError("disk full")
        task.cancel()
        await asyncio.sleep(0)
        assert service.database.gate is not None
        service.database.gate.set()
        with capture_logs() as events, pytest.raises(asyncio.CancelledError):
            await task
        assert [(event["event"], str(event["exc_info"])) for event in events] == [("toolkit.commit_lost", "disk full")]


async def test_a_roll_back_is_not_torn_either(module: WriteModule) -> None:
    """A failed call that is cancelled while it closes finishes that; the log has what had failed."""
    async with running(module(HANDLERS)) as service:
        service.database.close_gate = asyncio.Event()
        task = asyncio.create_task(service.call("CreateUser", name="fail"))
        await until(lambda: service.database.events == ["close 1"])
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        service.database.close_gate.set()
        with capture_logs() as events, pytest.raises(asyncio.CancelledError):
            await task
        assert [(event["event"], type(event["exc_info"])) for event in events] == [("toolkit.call_failed", ValueError)]
        assert not service.dispatcher.in_flight


async def test_a_commit_is_bounded_in_time(module: WriteModule) -> None:
    """A commit that hangs is cancelled, its view closed, and the call ends with an error."""
    async with running(module(HANDLERS), finish_timeout=0.05) as service:
        service.database.gate = asyncio.Event()
        with capture_logs() as events:
            await internal(service.call("CreateUser"))
        assert service.database.events == ["commit 1", "close 1"]
        assert str(events[0]["exc_info"]) == "not done within 0.05 s"


async def test_a_close_is_bounded_in_time(module: WriteModule) -> None:
    """A view that hangs while it is closed keeps the client's status from no one; the log says so."""
    async with running(module(HANDLERS), finish_timeout=0.05) as service:
        service.database.close_gate = asyncio.Event()
        with capture_logs() as events:
            await internal(service.call("CreateUser", name="fail"))
        assert [(event["event"], str(event["exc_info"])) for event in events] == [
            ("toolkit.view_close_failed", "not done within 0.05 s"),
            ("toolkit.call_failed", ""),
        ]


async def test_views_commit_in_the_order_of_opening_and_close_in_reverse(module: WriteModule) -> None:
    """With views of two kinds the first opened commits first; when one fails, the later are not committed."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Session, second: Session): return {}
        """
    )
    option = 'option (toolkit.plugins) = {prefix: "second" plugin: "sql"};'
    two = shop(SHOP.replace("message User {", f"{option}\nmessage User {{"))
    async with running(users, manifest=two) as service:
        first, second = service.database, service.registry["second"].resource
        second.events = first.events
        second.opened = 10
        await service.call("CreateUser")
        assert first.events == ["commit 1", "committed 1", "commit 11", "committed 11", "close 11", "close 1"]
        first.events.clear()
        first.fail_commit = OSError()
        with capture_logs():
            await internal(service.call("CreateUser"))
        assert first.events == ["commit 2", "close 12", "close 2"]


async def test_hooks_and_callbacks_have_a_scope_of_their_own(module: WriteModule) -> None:
    """`on_start`, `on_stop` and a plugin's callbacks are injected, commit when they end well, and roll back else."""
    users = module(
        """
        @on_start
        async def warm(*, pgsql: Session, unit: Unit): pgsql.database.events.append("warm")

        @component
        class Unit:
            def __init__(self, pgsql: Session): self.events = pgsql.database.events
            async def __aenter__(self): ...
            async def __aexit__(self, *_): self.events.append("left")

        @on_start
        async def check(*, pgsql: Engine): pgsql.database.events.append("check")

        @on_stop
        async def flush(*, pgsql: Engine): pgsql.database.events.append("flush")

        @on_stop
        async def leave(*, pgsql: Session): raise ValueError("no")

        async def callback(one, two, *, pgsql: Session, sessions: Store | None):
            pgsql.database.events.append(f"called {one}{two} {sessions is not None}")
            return one + two
        """
    )
    async with running(users) as service:
        dispatcher, events = service.dispatcher, service.database.events
        assert [hook.name for hook in dispatcher.start_hooks] == ["users.warm", "users.check"]
        assert [hook.name for hook in dispatcher.stop_hooks] == ["users.leave", "users.flush"]
        for hook in dispatcher.start_hooks:
            await hook()
        assert events == ["warm", "left", "commit 1", "committed 1", "close 1", "check"]
        events.clear()
        with pytest.raises(ValueError, match="no"):
            await dispatcher.stop_hooks[0]()
        assert events == ["close 2"]
        events.clear()
        bound = dispatcher.bind(users.callback)
        service.database.gate = asyncio.Event()
        calling: asyncio.Future[Any] = asyncio.ensure_future(bound(1, 2))
        await until(lambda: "commit 3" in events)
        assert not calling.done()
        service.database.gate.set()
        assert await calling == 3
        assert events == ["called 12 True", "commit 3", "committed 3", "close 3"]
        assert dispatcher.bind(users.callback) is bound


async def test_callbacks_are_checked_before_anything_opens(module: WriteModule) -> None:
    """A plugin's callback that cannot be injected is refused as soon as it is bound, and every time."""
    users = module(
        """
        @settings
        class Late:
            x: int = 1

        @component
        class Repository:
            def __init__(self, pgsql: Engine): ...

        @component
        class Outer:
            def __init__(self, repository: Repository, pgsql: Session): ...

        async def wrong(*, pgsq: Engine): ...
        def plain(*, pgsql: Engine): ...
        async def late(*, limits: Late): ...
        async def unbuilt(*, repository: Repository): ...
        async def nested(*, outer: Outer): ...
        """
    )
    wrong, plain, late, unbuilt = users.wrong, users.plain, users.late, users.unbuilt
    empty = module("", "empty")
    plan = plan_of(empty)
    for _ in range(2):
        with pytest.raises(BindingError, match="no plugin is declared under the prefix 'pgsq'"):
            plan.check_function(wrong)
    with pytest.raises(BindingError) as caught:
        plan.check_function(plain)
    assert str(caught.value.problems[0]) == (
        "users.py:23 plain: the callback plain is no coroutine function\n"
        "    while it ran, nothing else would\n"
        "  → make it `async def`; run what blocks with `await asyncio.to_thread(...)`"
    )
    with pytest.raises(BindingError) as caught:
        plan.check_function(late)
    assert str(caught.value.problems[0]) == (
        "users.py:24 late: Late was not known when the environment was read, for only a plugin asks for it\n"
        "  → import the class in a module of handlers"
    )
    async with running(empty) as service:
        for line, function in ((25, unbuilt), (26, users.nested)):
            with pytest.raises(BindingError) as caught:
                service.dispatcher.bind(function)
            assert str(caught.value.problems[0]) == (
                f"users.py:{line} {function.__name__}: Repository would have had to be built at the start, "
                "and nothing asked for it then\n"
                "  → import the class in a module of handlers"
            )


def test_hooks_are_checked(problems: Callable[..., list[str]]) -> None:
    """A hook that is no coroutine function, or takes something by position, is refused."""
    found = problems(
        """
        @on_start
        def warm(): ...

        @on_stop
        async def flush(pgsql: Engine): ...
        """
    )
    assert found == [
        """\
users.py:11 warm: the @on_start function warm is no coroutine function
    while it ran, nothing else would
  → make it `async def`; run what blocks with `await asyncio.to_thread(...)`""",
        """\
users.py:14 flush(pgsql: Engine): 'pgsql' is positional, and an @on_stop function is given everything by name
  → put `*` before it: flush(*, pgsql: Engine)""",
    ]
