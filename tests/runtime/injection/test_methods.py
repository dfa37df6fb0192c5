"""Handlers are found for methods by name, and refused with a reason when they cannot be handlers."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.runtime.shop import SHOP, plan_of, running, shop

Problems = Callable[..., list[str]]
WriteModule = Callable[..., ModuleType]

CASES = {
    "a misspelt method": (
        """
        @users.rpc
        async def creat_user(request): ...
        """,
        """\
users.py:11 creat_user: shop.v1.UserService has no method 'creat_user'
    its methods: CreateUser, ListUsers, ImportUsers, Chat, Ping
  → did you mean CreateUser? Write @rpc("CreateUser"), or name the function so""",
    ),
    "a misspelt name": (
        """
        @users.rpc("Zap")
        async def create_user(request): ...
        """,
        """\
users.py:11 create_user: shop.v1.UserService has no method 'Zap'
    its methods: CreateUser, ListUsers, ImportUsers, Chat, Ping""",
    ),
    "two handlers": (
        """
        @users.rpc
        async def create_user(request): ...

        @users.implement
        class Users:
            async def CreateUser(self, request): ...
        """,
        """\
users.py:15 Users.CreateUser: shop.v1.UserService.CreateUser has another handler
    the other is users.py:11 create_user
  → remove one of them""",
    ),
    "a misspelt service": (
        """
        other = Service("shop.v1.UsrService")
        """,
        """\
users.py:10 Service('shop.v1.UsrService'): the descriptor set has no service shop.v1.UsrService
    it has shop.v1.UserService
  → did you mean 'shop.v1.UserService'?""",
    ),
    "a misspelt message": (
        """
        User = users.message("Usr")
        """,
        """\
users.py:9 Service('shop.v1.UserService').message('Usr'): the descriptor set has no message 'Usr' \
that shop.v1.UserService could mean
  → did you mean 'shop.v1.User'?""",
    ),
    "a plain function": (
        """
        @users.rpc
        def create_user(request): ...
        """,
        """\
users.py:11 create_user: create_user is a plain function
    it would hold up every call of the process for as long as it runs
  → make it `async def`; run what blocks with `await asyncio.to_thread(...)`""",
    ),
    "a plain function for a stream": (
        """
        @users.rpc
        def list_users(request): ...
        """,
        """\
users.py:11 list_users: list_users is a plain function
    it would hold up every call of the process for as long as it runs
  → make it `async def` with a `yield` for each reply; run what blocks with `await asyncio.to_thread(...)`""",
    ),
    "a coroutine for a stream": (
        """
        @users.rpc
        async def list_users(request): ...
        """,
        """\
users.py:11 list_users: shop.v1.UserService.ListUsers streams its reply, and list_users returns one
  → `yield` each reply""",
    ),
    "a generator for one reply": (
        """
        @users.rpc
        async def create_user(request):
            yield request
        """,
        """\
users.py:11 create_user: shop.v1.UserService.CreateUser has one reply, and create_user yields replies
  → return the reply, or declare `returns (stream ...)` in the proto""",
    ),
    "no request": (
        """
        @users.rpc
        async def create_user(*, pgsql: Engine): ...
        """,
        """\
users.py:11 create_user: the first positional parameter, the request of shop.v1.UserService.CreateUser, is missing
  → async def create_user(request, …)""",
    ),
    "no requests": (
        """
        @users.rpc
        async def import_users(): ...
        """,
        """\
users.py:11 import_users: the first positional parameter, the requests of shop.v1.UserService.ImportUsers, is missing
  → async def import_users(requests, …)""",
    ),
    "a forgotten star": (
        """
        @users.rpc
        async def create_user(request, pgsql: Engine): ...
        """,
        """\
users.py:11 create_user(pgsql: Engine): 'pgsql' is positional; only the request and the call's Context are
    what is injected is keyword-only
  → put `*` before it: create_user(request, *, pgsql: Engine)""",
    ),
    "a third positional parameter": (
        """
        @users.implement
        class Users:
            async def create_user(self, request, context: Context, engine=None): ...
        """,
        """\
users.py:12 Users.create_user(engine = None): 'engine' is positional; only the request and the call's Context are
    what is injected is keyword-only
  → put `*` before it: create_user(request, *, engine = None)""",
    ),
    "a single request for a stream": (
        """
        @users.rpc
        async def import_users(requests: dict): ...
        """,
        """\
users.py:11 import_users(requests: dict): shop.v1.UserService.ImportUsers takes a stream of requests
  → annotate it `AsyncIterator[dict]`""",
    ),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_each_mistake_is_reported(problems: Problems, source: str, expected: str) -> None:
    """What cannot handle a method is refused with place, reason and cure."""
    assert problems(source) == [expected]


async def test_names_match_ignoring_case_and_underscores(module: WriteModule) -> None:
    """A function handles the method of its name, or of the name that it was given, however that is spelt."""
    users = module(
        """
        @users.rpc
        async def createuser(request): return request

        @users.rpc("list_users")
        async def everyone(request):
            yield {"id": 1}

        @users.rpc("PING")
        async def pong(request): return {}
        """
    )
    async with running(users) as shop_:
        assert set(shop_.dispatcher.endpoints) == {
            f"/shop.v1.UserService/{name}" for name in ("CreateUser", "ListUsers", "Ping")
        }
        assert (await shop_.call("CreateUser", id=3)).id == 3


def test_an_exact_name_goes_before_one_that_only_sounds_like_it(module: WriteModule, problems: Problems) -> None:
    """Methods that differ by case alone are told apart by their exact names; anything else is ambiguous."""
    twins = shop(SHOP.replace("rpc Ping(", "rpc GetURL(User) returns (User);\n  rpc GetUrl("))
    source = """
        @users.rpc("GetURL")
        async def one(request): ...

        @users.rpc("GetUrl")
        async def two(request): ...
        """
    assert set(plan_of(module(source, "exact"), manifest=twins).uses) == {
        "/shop.v1.UserService/GetURL",
        "/shop.v1.UserService/GetUrl",
    }
    vague = """
        @users.rpc
        async def get_url(request): ...
        """
    assert problems(vague, manifest=twins) == [
        """\
users.py:11 get_url: shop.v1.UserService has more than one method 'get_url'
    its methods: CreateUser, ListUsers, ImportUsers, Chat, GetURL, GetUrl
  → @rpc("GetURL") or @rpc("GetUrl")"""
    ]


def test_methods_without_a_handler_are_refused(problems: Problems) -> None:
    """Each served method that has neither handler nor route is reported where the proto declares it."""
    found = problems(
        """
        @users.implement
        class Users:
            async def creat_user(self, request): ...
            async def import_users(self, requests): ...
            async def chat(self, requests): yield
            async def ping(self, request): ...
        """,
        allow_unimplemented=False,
    )
    assert found == [
        """\
shop.proto:13: shop.v1.UserService.CreateUser is served, and has neither a handler nor a route
    users.py:12 Users.creat_user resembles it
  → write one: @service.rpc("CreateUser"); or start with --allow-unimplemented""",
        """\
shop.proto:14: shop.v1.UserService.ListUsers is served, and has neither a handler nor a route
  → write one: @service.rpc("ListUsers"); or start with --allow-unimplemented""",
    ]


def test_methods_without_a_handler_can_be_allowed(module: WriteModule) -> None:
    """With `allow_unimplemented` the plan lists them instead."""
    plan = plan_of(module("@users.rpc\nasync def create_user(request): ...\n"))
    assert plan.problems == ()
    assert [method.name for method in plan.unimplemented] == ["ListUsers", "ImportUsers", "Chat", "Ping"]


def test_a_failed_import_hides_what_it_would_have_defined(module_folder: object) -> None:
    """When a module cannot be imported, its missing handlers are not reported on top."""
    plan = plan_of("no_such_module", allow_unimplemented=False)
    assert plan.problems == ()


def test_routed_methods_need_no_handler(module: WriteModule) -> None:
    """A method that a route answers is announced as not served yet, and may be handled all the same."""
    route = 'returns (User) {\n    option (toolkit.route) = {http_proxy: {service: "billing" method: "/b.B/Do"}};\n  }'
    manifest = shop(SHOP.replace("rpc CreateUser(User) returns (User);", f"rpc CreateUser(User) {route}"))
    source = """
        @users.fallback
        async def anything(request): ...

        @users.fallback
        async def streams(request):
            yield request
        """
    plan = plan_of(module(source), manifest=manifest, allow_unimplemented=False)
    assert plan.problems == ()
    assert plan.not_served == ("the route of shop.v1.UserService.CreateUser",)
    assert "/shop.v1.UserService/CreateUser" not in plan.uses
    handled = module("@users.rpc\nasync def create_user(request): ...\n", "handled")
    assert plan_of(handled, manifest=manifest).not_served == ()


async def test_implementations_are_built_by_injection(module: WriteModule) -> None:
    """A class handles every method that it has a public function for, with what its constructor took."""
    users = module(
        """
        @users.implement
        class Users:
            def __init__(self, app: FakeApp, pgsql: Engine):
                self.app, self.engine = app, pgsql

            async def create_user(self, request, context, *, sessions: Store):
                assert isinstance(sessions, Store)
                return {"name": type(self.app).__name__, "id": id(self)}

            async def list_users(self, request):
                yield {"id": id(self)}

            @staticmethod
            async def ping(request): return {}

            async def helper(self): raise NotImplementedError

            async def _chat(self, requests): raise NotImplementedError
        """
    )
    async with running(users) as shop_:
        reply = await shop_.call("CreateUser")
        assert reply.name == "FakeApp"
        assert [user.id for user in await shop_.stream("ListUsers")] == [reply.id]
        await shop_.call("Ping")
        assert len(shop_.dispatcher.endpoints) == 3


async def test_an_implementation_with_a_call_scoped_view_is_built_for_every_call(module: WriteModule) -> None:
    """Each call has an instance of its own, whose view is committed with that call."""
    users = module(
        """
        @users.implement
        class Users:
            def __init__(self, pgsql: Session):
                self.session = pgsql

            async def create_user(self, request, context):
                return {"id": self.session.number}
        """
    )
    async with running(users) as shop_:
        assert [(await shop_.call("CreateUser")).id for _ in range(2)] == [1, 2]
        assert shop_.database.events == ["commit 1", "committed 1", "close 1", "commit 2", "committed 2", "close 2"]


def test_generated_servicers_are_no_handlers(module: WriteModule) -> None:
    """Methods that a generated base class only declares count as missing."""
    module(
        """
        class UsersServicer:
            def CreateUser(self, request, context): raise NotImplementedError
        """,
        "shop_pb2_grpc",
    )
    users = module(
        """
        from shop_pb2_grpc import UsersServicer

        @users.implement
        class Users(UsersServicer):
            async def Ping(self, request, context): ...
        """
    )
    plan = plan_of(users)
    assert plan.problems == ()
    assert "CreateUser" in [method.name for method in plan.unimplemented]


async def test_fallbacks_take_what_nothing_else_handles(module: WriteModule) -> None:
    """A coroutine answers the methods with one reply and a generator those with a stream, told apart by the context."""
    users = module(
        """
        @users.rpc
        async def ping(request): return {}

        @users.fallback
        async def one(request, context, *, pgsql: Engine):
            if context.method.cardinality.client_streaming:
                return {"name": context.method.name, "id": len([item async for item in request])}
            return {"name": context.method.name, "id": request.id}

        @users.fallback
        async def many(request, context):
            yield {"name": context.method.name}
        """
    )
    async with running(users) as shop_:
        user = shop_.endpoint("CreateUser").request_class
        created = await shop_.call("CreateUser", id=5)
        assert (created.name, created.id) == ("CreateUser", 5)
        imported = await shop_.call("ImportUsers", [user(), user()])
        assert (imported.name, imported.id) == ("ImportUsers", 2)
        assert [reply.name for reply in await shop_.stream("ListUsers")] == ["ListUsers"]
        assert [reply.name for reply in await shop_.stream("Chat", [user()])] == ["Chat"]


def test_a_fallback_of_the_other_kind_is_explained(problems: Problems) -> None:
    """A coroutine cannot answer with a stream, and the report says so."""
    found = problems(
        """
        @users.fallback
        async def one(request): ...
        """,
        allow_unimplemented=False,
    )
    assert found == [
        f"""\
shop.proto:{line}: shop.v1.UserService.{name} is served, and has neither a handler nor a route
    it streams its reply, and only an async generator function can be the fallback of such a method
  → write one: @service.rpc("{name}"); or start with --allow-unimplemented"""
        for line, name in ((14, "ListUsers"), (16, "Chat"))
    ]


def test_a_plain_fallback_is_refused_once(problems: Problems) -> None:
    """One mistake in a fallback is one report, however many methods it would have handled."""
    source = """
        @users.fallback
        def anything(request): ...
        """
    assert len(problems(source, allow_unimplemented=False)) == 2  # as a coroutine and as a generator


def test_services_of_the_set_that_are_not_served_are_a_warning(module: WriteModule) -> None:
    """Handlers of a service that this process does not serve are left aside, and it says how to serve them."""
    manifest = shop(
        SHOP.replace("service UserService {", "service UserService {\n  option (toolkit.runtime) = {};")
        + "service Other { rpc Do(User) returns (User); }\n"
    )
    plan = plan_of(module('other = Service("shop.v1.Other")\n'), manifest=manifest)
    assert plan.problems == ()
    assert [str(warning) for warning in plan.warnings] == [
        """\
users.py:10 Service('shop.v1.Other'): shop.v1.Other is in the descriptor set, but not served by this process
    served: shop.v1.UserService
  → name it with --service to serve it"""
    ]


async def test_decorated_functions_are_what_they_wrap(module: WriteModule) -> None:
    """A handler under a decorator that uses functools.wraps keeps its signature and its place."""
    users = module(
        """
        import functools

        def traced(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper

        @users.rpc
        @traced
        async def create_user(request, *, pgsql: Engine):
            return {"name": type(pgsql).__name__}
        """
    )
    async with running(users) as shop_:
        assert (await shop_.call("CreateUser")).name == "Engine"
