"""Middlewares run where they are meant to, in order, and see messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from tests.runtime.shop import SHOP, LocalCall, plan_of, running, shop
from toolkit.errors import Abort
from toolkit.manifest import Manifest
from toolkit.runtime.call import Context
from toolkit.runtime.dispatch import Codec

Problems = Callable[..., list[str]]
WriteModule = Callable[..., ModuleType]


def shop_with(*, server: str = "", route: str = "") -> Manifest:
    """A shop whose service has these server options, and whose CreateUser has this route."""
    source = SHOP.replace("service UserService {", f"service UserService {{\n  option (toolkit.server) = {{{server}}};")
    return shop(
        source.replace(
            "rpc CreateUser(User) returns (User);",
            f"rpc CreateUser(User) returns (User) {{ option (toolkit.route) = {{{route}}}; }}",
        )
    )


MARKS = """
    log = []

    def tell(name):
        async def run(call, next):
            log.append(name)
            return await next(call)
        run.__name__ = name
        return run

    first = middleware(tell("first"))
    one = middleware(name="one")(tell("x"))
    second = middleware(tell("second"))
    two = middleware(name="two")(tell("y"))

    @users.rpc
    async def create_user(request): return {}

    @users.rpc
    async def ping(request): return {}
"""


async def test_middlewares_run_in_order(module: WriteModule) -> None:
    """Around a method run those of all methods, those of its service, and those of its route, each once."""
    users = module(MARKS)
    manifest = shop_with(server='middlewares: ["two", "one"]', route='middlewares: ["one", "two"]')
    async with running(users, manifest=manifest) as service:
        await service.call("CreateUser")
    assert users.log == ["first", "second", "y", "x"]


async def test_a_route_adds_and_leaves_out(module: WriteModule) -> None:
    """A route's own middlewares run innermost; what it excludes does not run, by whatever way it came."""
    users = module(MARKS)
    manifest = shop_with(
        server='middlewares: ["two"]', route='middlewares: ["one"] exclude_global_middlewares: ["two", "first"]'
    )
    async with running(users, manifest=manifest) as service:
        await service.call("CreateUser")
        assert users.log == ["second", "x"]
        users.log.clear()
        await service.call("Ping")
        assert users.log == ["first", "second", "y"]


def test_unknown_and_unused_names_are_warnings(module: WriteModule) -> None:
    """A name without a middleware, and a middleware that is named nowhere, are told apart from errors."""
    users = module(
        """
        @middleware(name="audit")
        async def note(call, next): return await next(call)
        """
    )
    plan = plan_of(users, manifest=shop_with(server='middlewares: ["audti"]', route='middlewares: ["request_id"]'))
    assert plan.problems == ()
    assert [str(warning) for warning in plan.warnings] == [
        """\
shop.proto:12: shop.v1.UserService names the middleware 'audti', which no handler module defines: it does not run
    defined: audit
  → did you mean 'audit'?""",
        """\
shop.proto:14: shop.v1.UserService.CreateUser names the middleware 'request_id', which no handler module defines: \
it does not run
    defined: audit""",
        """\
users.py:11 note: the middleware 'audit' runs nowhere, for the manifest names it nowhere
  → name it in (toolkit.server).middlewares or in a route, or mark it with plain @middleware""",
    ]


CASES = {
    "a plain function": (
        """
        @middleware
        def note(call, next): ...
        """,
        """\
users.py:11 note: the middleware note is no coroutine function
    it runs around every call and has to await the next
  → async def note(call, next, …): return await next(call)""",
    ),
    "one parameter": (
        """
        @middleware
        async def note(call): ...
        """,
        """\
users.py:11 note: a middleware takes two positional parameters, the call and the next; this one takes: call
  → async def note(call, next, *, …); what is injected is keyword-only""",
    ),
    "a call-scoped view around a stream": (
        """
        @middleware
        async def note(call, next, *, pgsql: Session): ...

        @users.rpc
        async def list_users(request): yield
        """,
        """\
users.py:11 note(*, pgsql: Session): Session of pgsql belongs to one call, \
and shop.v1.UserService.ListUsers streams its reply
    it would stay open, and its transaction with it, for as long as the client goes on reading
  → take what lasts (Database, Engine) and open what you need for each piece of work""",
    ),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_each_mistake_is_reported(problems: Problems, source: str, expected: str) -> None:
    """What cannot be a middleware is refused with place, reason and cure."""
    assert problems(source) == [expected]


async def test_middlewares_see_messages_both_ways(module: WriteModule) -> None:
    """Whatever the handler converts, a middleware finds messages, may replace them, and may end the call."""
    users = module(
        """
        User = users.message("User")

        @middleware
        async def shout(call, next, *, pgsql: Engine):
            if call.request.name == "stop":
                raise Abort(Code.PERMISSION_DENIED, "no")
            if call.request.name == "short":
                return User(name="cut")
            call.request = User(name=call.request.name.upper())
            reply = await next(call)
            reply.id = 7
            return reply

        @users.rpc
        async def create_user(request: dict): return {"name": request["name"] + "!"}
        """
    )
    async with running(users) as service:
        reply = await service.call("CreateUser", name="hey")
        assert (reply.name, reply.id) == ("HEY!", 7)
        assert (await service.call("CreateUser", name="short")).name == "cut"
        with pytest.raises(Abort, match="no"):
            await service.call("CreateUser", name="stop")


async def test_middlewares_of_streams_get_the_iterator(module: WriteModule) -> None:
    """For streamed replies the next gives an async iterator of messages, and a middleware may wrap it."""
    users = module(
        """
        closed = []

        @middleware
        async def number(call, next):
            replies = await next(call)
            async def numbered():
                async for reply in replies:
                    reply.id += 10
                    yield reply
            return numbered()

        @users.rpc
        async def list_users(request):
            try:
                for index in range(3):
                    yield {"id": index}
            finally:
                closed.append(True)

        @users.rpc
        async def chat(requests, context):
            async for request in requests:
                yield {"id": request.id * 2}
        """
    )
    async with running(users) as service:
        assert [user.id for user in await service.stream("ListUsers")] == [10, 11, 12]
        user = service.endpoint("Chat").request_class
        assert [reply.id for reply in await service.stream("Chat", [user(id=1), user(id=2)])] == [12, 14]
        users.closed.clear()
        replies = service.start("ListUsers", service.request("ListUsers"))
        await anext(replies)
        await replies.aclose()
        assert users.closed == [True]
        assert not service.dispatcher.in_flight


async def test_plugins_middlewares_are_outermost_and_see_failing_commits(module: WriteModule) -> None:
    """`around` encloses the app's middlewares and the commit, and sees errors as they were raised."""
    users = module(
        """
        log = []

        @middleware
        async def own(call, next):
            log.append("own")
            return await next(call)

        @users.rpc
        async def create_user(request, *, pgsql: Session): return {"name": "made"}

        @users.rpc
        async def list_users(request):
            yield {"id": 1}
        """
    )

    async def outer(call: Context, following: Callable[[Context], Any]) -> Any:
        users.log.append("outer")
        return await following(call)

    async def inner(call: Context, following: Callable[[Context], Any]) -> Any:
        users.log.append("inner")
        try:
            reply = await following(call)
        except OSError as error:
            users.log.append(str(error))
            raise
        if isinstance(reply, AsyncIterator):
            return reply
        users.log.append((reply.name, call.method.name))
        return reply

    async with running(users, around=(outer, inner)) as service:
        assert (await service.call("CreateUser")).name == "made"
        assert users.log == ["outer", "inner", "own", ("made", "CreateUser")]
        assert service.database.events == ["commit 1", "committed 1", "close 1"]
        users.log.clear()
        service.database.fail_commit = OSError("disk full")
        with pytest.raises(Abort, match="internal error"):
            await service.call("CreateUser")
        assert users.log == ["outer", "inner", "own", "disk full"]
        users.log.clear()
        assert [user.id for user in await service.stream("ListUsers")] == [1]
        assert users.log == ["outer", "inner", "own"]


async def test_a_plugins_middleware_may_replace_the_reply(module: WriteModule) -> None:
    """What `around` returns is what is sent, serialised anew if it is another message."""
    users = module("@users.rpc\nasync def create_user(request): return {'name': 'a'}\n")

    async def replace(call: Context, following: Callable[[Context], Any]) -> Any:
        reply = await following(call)
        return type(reply)(name=reply.name + "b")

    async with running(users, around=(replace,)) as service:
        assert (await service.call("CreateUser")).name == "ab"


async def pass_on(call: Context, following: Callable[[Context], Any]) -> Any:
    """A plugin's middleware that changes nothing."""
    return await following(call)


async def test_a_call_inside_of_a_plugins_middleware_is_like_any_other(module: WriteModule) -> None:
    """Requests are decoded, replies serialised once and before the commit, failures rolled back, and all is counted."""
    users = module(
        """
        @component
        class Unit:
            def __init__(self, pgsql: Session): self.events = pgsql.database.events
            async def __aenter__(self): ...
            async def __aexit__(self, *_): self.events.append("leave")

        @middleware
        async def answer(call, next):
            return {"name": "cached"} if call.request.name == "hit" else await next(call)

        @users.rpc
        async def create_user(request, *, unit: Unit):
            if request.name == "bad":
                raise Abort(Code.NOT_FOUND, "no")
            return {"name": request.name}
        """
    )
    async with running(users, around=(pass_on,)) as service:
        endpoint, events = service.endpoint("CreateUser"), service.database.events

        def encode(message: Any) -> str:
            events.append("serialised")
            return str(message.name)

        serve = endpoint.serve(Codec(decode=endpoint.request_class.FromString, encode=encode))
        request: Any = endpoint.request_class
        assert await serve(LocalCall(endpoint.declaration, request(name="x").SerializeToString())) == "x"
        assert events == ["serialised", "leave", "commit 1", "committed 1", "close 1"]
        events.clear()
        with pytest.raises(Abort, match="no"):
            await service.call("CreateUser", name="bad")
        assert events == ["leave", "close 2"]
        assert (await service.call("CreateUser", name="hit")).name == "cached"
        assert not service.dispatcher.in_flight


async def test_a_stream_that_a_middleware_cuts_short_is_closed(module: WriteModule) -> None:
    """When a middleware ends a stream early, the handler's `finally` runs before the call ends."""
    users = module(
        """
        log = []

        @component
        class Unit:
            def __init__(self, sessions: Store | None): ...
            async def __aenter__(self): log.append("enter")
            async def __aexit__(self, *_): log.append("leave")

        @middleware
        async def first(call, next):
            replies = await next(call)
            async def cut():
                async for reply in replies:
                    yield reply
                    return
            return cut()

        @users.rpc
        async def list_users(request, *, unit: Unit):
            try:
                while True:
                    yield {"id": 1}
            finally:
                log.append("finally")
        """
    )
    async with running(users) as service:
        assert len(await service.stream("ListUsers")) == 1
        assert users.log == ["enter", "finally", "leave"]
