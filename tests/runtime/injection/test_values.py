"""What parameters receive: views by name, components and settings by type, the runtime's own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import SHOP, Running, plan_of, running, shop
from toolkit.errors import Abort, Code, StartupError
from toolkit.runtime.registry import PluginState

WriteModule = Callable[..., ModuleType]


async def test_the_name_picks_the_instance_and_the_type_the_view(module: WriteModule) -> None:
    """A parameter receives the view of its type of the plugin of its name, or of the one that Named says."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Engine, sessions: Store, db: Annotated[Database, Named("pgsql")],
                              cache: Annotated[Store | None, Named("sessions")]):
            assert pgsql.database is db and isinstance(cache, Store) and cache is sessions
            return {"id": 1}
        """
    )
    async with running(users) as service:
        assert (await service.call("CreateUser")).id == 1


async def test_a_view_is_made_once(module: WriteModule) -> None:
    """Everyone who asks for a lasting view of one plugin receives the same object."""
    users = module(
        """
        seen = []

        @component
        class Repository:
            def __init__(self, pgsql: Engine):
                seen.append(pgsql)

        @users.rpc
        async def create_user(request, *, repository: Repository, pgsql: Engine):
            seen.append(pgsql)
            return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        await service.call("CreateUser")
    assert len(users.seen) == 3
    assert len(set(map(id, users.seen))) == 1


async def test_the_runtimes_own_are_injected_by_type(module: WriteModule) -> None:
    """The App, the Registry, the manifest, a bound logger and settings are found by their types, clients by name."""
    users = module(
        """
        from toolkit.manifest import Manifest

        @settings
        class Limits:
            users: int = 3

        @users.rpc
        async def create_user(request, *, app: FakeApp, registry: Registry, manifest: Manifest, limits: Limits,
                              log: structlog.typing.FilteringBoundLogger, billing: Any):
            log.info("made", app=type(app).__name__)
            assert manifest.served and billing == "the client"
            return {"id": limits.users, "name": ",".join(item.prefix for item in registry)}
        """
    )
    with capture_logs() as events:
        async with running(
            users, settings={users.Limits: users.Limits()}, clients={"billing": "the client"}
        ) as service:
            reply = await service.call("CreateUser")
    assert (reply.id, reply.name) == (3, "pgsql,sessions")
    assert events == [
        {"event": "made", "app": "FakeApp", "rpc_method": "/shop.v1.UserService/CreateUser", "log_level": "info"}
    ]


async def test_defaults_are_kept_where_nothing_is_meant(module: WriteModule) -> None:
    """A parameter with a default that names and types nothing injected keeps it."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, attempts: int = 3, label="x"):
            return {"id": attempts, "name": label}
        """
    )
    async with running(users) as service:
        reply = await service.call("CreateUser")
    assert (reply.id, reply.name) == (3, "x")


async def test_components_are_built_once_in_order_and_left_in_reverse(module: WriteModule) -> None:
    """A component is built after those that it takes, once, also if nobody takes it; it is left before them."""
    users = module(
        """
        log = []

        class Open:
            async def __aenter__(self): log.append(f"enter {type(self).__name__}"); return self
            async def __aexit__(self, *_): log.append(f"leave {type(self).__name__}")

        @component
        class Controller(Open):
            def __init__(self, repository: Repository): log.append("build Controller")

        @component
        class Repository(Open):
            def __init__(self, pgsql: Engine): log.append("build Repository")

        @component
        class Alone:
            def __init__(self): log.append("build Alone")

        @users.rpc
        async def create_user(request, *, controller: Controller, repository: Repository): return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        await service.call("CreateUser")
    assert users.log == [
        "build Repository",
        "enter Repository",
        "build Controller",
        "enter Controller",
        "build Alone",
        "leave Controller",
        "leave Repository",
    ]


async def test_attrs_classes_and_dataclasses_are_components(module: WriteModule) -> None:
    """The fields of an attrs class or a dataclass are injected like parameters, also inherited ones."""
    module(
        """
        @attrs.define
        class Parent:
            pgsql: Engine
            _hidden: Store = attrs.field(alias='sessions')
        """,
        "parent",
    )
    users = module(
        """
        import dataclasses
        from parent import Parent

        @component
        @attrs.define
        class Repository(Parent):
            retries: int = 3

        @component
        @dataclasses.dataclass
        class Users:
            repository: Repository
            sessions: Store

        @users.rpc
        async def create_user(request, *, service: Users):
            repository = service.repository
            assert repository._hidden is service.sessions
            return {"id": repository.retries, "name": type(repository.pgsql).__name__}
        """
    )
    async with running(users) as service:
        reply = await service.call("CreateUser")
    assert (reply.id, reply.name) == (3, "Engine")


async def test_a_failing_constructor_fails_the_start_and_leaves_what_was_entered(module: WriteModule) -> None:
    """The report names the component and its error; components entered before are left, in reverse."""
    users = module(
        """
        log = []

        @component
        class First:
            async def __aenter__(self): log.append("enter")
            async def __aexit__(self, *_): log.append("leave")

        @component
        class Second:
            def __init__(self, first: First):
                raise ValueError("no pool")
        """
    )
    with pytest.raises(StartupError) as caught:
        async with running(users):
            raise AssertionError("it must not start")
    assert str(caught.value) == "users.py:18 Second: the component could not be built: ValueError: no pool"
    assert isinstance(caught.value.__cause__, ValueError)
    assert users.log == ["enter", "leave"]


async def test_a_component_that_cannot_be_left_keeps_no_other_from_it(module: WriteModule) -> None:
    """All components are left, the first error is raised, and each is logged."""
    users = module(
        """
        log = []

        @component
        class First:
            async def __aenter__(self): ...
            async def __aexit__(self, *_): log.append("first")

        @component
        class Second:
            def __init__(self, first: First): ...
            async def __aenter__(self): ...
            async def __aexit__(self, *_): raise OSError("stuck")
        """
    )
    with capture_logs() as events, pytest.raises(OSError, match="stuck"):
        async with running(users):
            pass
    assert users.log == ["first"]
    assert [(event["event"], event["component"]) for event in events] == [("toolkit.component_stop_failed", "Second")]


async def test_a_stop_does_not_replace_the_error_that_led_to_it(module: WriteModule) -> None:
    """What ended the service is raised, even if a component fails to close after it."""
    users = module(
        """
        @component
        class First:
            async def __aenter__(self): ...
            async def __aexit__(self, *_): raise OSError("stuck")
        """
    )
    with capture_logs(), pytest.raises(KeyError, match="the cause"):
        async with running(users):
            raise KeyError("the cause")


# What belongs to a call


async def test_within_one_call_a_view_is_one_object(module: WriteModule) -> None:
    """Handler, repositories and middlewares of a call share its session; the next call has another."""
    users = module(
        """
        seen = []

        @component
        class Repository:
            def __init__(self, pgsql: Session): self.session = pgsql

        @component
        class Service_:
            def __init__(self, repository: Repository, pgsql: Session):
                self.repository, self.session = repository, pgsql

        @middleware
        async def note(call, next, *, pgsql: Session, repository: Repository):
            seen.append((pgsql, repository))
            return await next(call)

        @users.rpc
        async def create_user(request, context, *, pgsql: Session, service: Service_, repository: Repository):
            assert service.session is repository.session is pgsql
            assert service.repository is repository
            seen.append((pgsql, repository))
            return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        await service.call("CreateUser")
        first, inner, second, _ = users.seen
        assert first == inner
        assert first[0] is not second[0]
        assert service.database.events == ["commit 1", "committed 1", "close 1", "commit 2", "committed 2", "close 2"]


async def test_a_view_may_have_to_be_awaited(module: WriteModule) -> None:
    """A view whose opening is awaitable is injected when it is open."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Connection):
            return {"name": pgsql.state}
        """
    )
    async with running(users) as service:
        assert (await service.call("CreateUser")).name == "connected"
        assert service.database.events == ["commit 1", "committed 1", "close 1"]


async def test_components_of_a_call_are_entered_and_left_with_it(module: WriteModule) -> None:
    """A component of the call is left before the commit, and sees the error of a call that failed."""
    users = module(
        """
        @component
        class Unit:
            def __init__(self, pgsql: Session): self.events = pgsql.database.events
            async def __aenter__(self): self.events.append("enter")
            async def __aexit__(self, kind, *_): self.events.append(f"leave {kind and kind.__name__}")

        @users.rpc
        async def create_user(request, *, unit: Unit):
            if request.name:
                raise Abort(Code.NOT_FOUND, "no")
            return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        assert service.database.events == ["enter", "leave None", "commit 1", "committed 1", "close 1"]
        service.database.events.clear()
        with pytest.raises(Abort):
            await service.call("CreateUser", name="x")
        assert service.database.events == ["enter", "leave Abort", "close 2"]


# Degraded plugins

DEGRADED = """
    @component
    class Cache:
        def __init__(self, sessions: Store): ...

    @component
    class MaybeCache:
        def __init__(self, sessions: Store | None): self.store = sessions

    @users.rpc
    async def create_user(request, *, sessions: Store | None, maybe: MaybeCache, pgsql: Engine | None):
        assert pgsql is not None and maybe.store is sessions
        return {"name": type(sessions).__name__}

    @users.rpc
    async def import_users(requests, *, sessions: Store): return {}

    @users.rpc
    async def ping(request, *, cache: Cache): return {}

    @users.rpc
    async def list_users(request, *, sessions: Store | None):
        yield {"name": type(sessions).__name__}

    @users.rpc
    async def chat(requests, *, cache: Cache):
        yield {}
"""


async def unavailable(call: Any) -> str:
    with pytest.raises(Abort) as caught:
        await call
    assert caught.value.code is Code.UNAVAILABLE
    return caught.value.message


async def test_optional_views_are_none_while_their_plugin_is_degraded(module: WriteModule) -> None:
    """`T | None` receives None until a plugin that is not critical is back, decided for every call."""
    async with running(module(DEGRADED)) as service:
        assert (await service.call("CreateUser")).name == "Store"
        service.registry["sessions"].state = PluginState.DEGRADED
        service.registry["pgsql"].state = PluginState.DEGRADED
        assert (await service.call("CreateUser")).name == "NoneType"
        assert [user.name for user in await service.stream("ListUsers")] == ["NoneType"]
        service.registry["sessions"].state = PluginState.READY
        assert (await service.call("CreateUser")).name == "Store"


async def test_plain_views_fail_fast_while_their_plugin_is_degraded(module: WriteModule) -> None:
    """Plain `T`, also of a component, ends the call with UNAVAILABLE and no internals; the log names the plugin."""
    async with running(module(DEGRADED)) as service:
        service.registry["sessions"].state = PluginState.DEGRADED
        with capture_logs() as events:
            texts = {
                await unavailable(service.call("ImportUsers", [])),
                await unavailable(service.call("Ping")),
                await unavailable(service.stream("Chat", [])),
            }
        assert texts == {"the service cannot do this at the moment, for something it needs is down"}
        assert [(event["event"], event["prefix"], event["plugin"]) for event in events] == [
            ("toolkit.call_refused", "sessions", "store")
        ] * 3
        service.registry["sessions"].state = PluginState.READY
        await service.call("Ping")


async def test_a_critical_plugin_is_not_looked_at_in_a_call(module: WriteModule) -> None:
    """What is critical goes on being used while it is degraded: health says so, calls find out for themselves."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Engine, session: Annotated[Session, Named("pgsql")]): return {}
        """
    )
    async with running(users) as service:
        service.registry["pgsql"].state = PluginState.DEGRADED
        await service.call("CreateUser")


# What a plan tells


def test_a_plan_knows_who_uses_what(module: WriteModule) -> None:
    """Uses are listed for each method and service: direct ones, through components, and through middlewares."""
    users = module(
        """
        @component
        class Repository:
            def __init__(self, pgsql: Engine): ...

        @middleware(name="audit")
        async def audit(call, next, *, sessions: Store): return await next(call)

        @users.rpc
        async def create_user(request, *, repository: Repository): ...

        @users.rpc
        async def ping(request): ...
        """
    )
    route = "rpc CreateUser(User) returns (User)"
    manifest = shop(SHOP.replace(f"{route};", route + '{ option (toolkit.route) = {middlewares: "audit"}; }'))
    plan = plan_of(users, manifest=manifest)
    assert plan.uses == {
        "/shop.v1.UserService/CreateUser": frozenset({"pgsql", "sessions"}),
        "/shop.v1.UserService/Ping": frozenset(),
    }
    assert plan.service_uses == {"shop.v1.UserService": frozenset({"pgsql", "sessions"})}


def test_settings_are_found_in_modules_and_in_signatures(module: WriteModule) -> None:
    """A plan lists every settings class that a module defines, and those that only a signature names."""
    module("from toolkit import settings\n\n@settings\nclass Far:\n    x: int = 1\n", "far")
    users = module(
        """
        import far

        @settings
        class Near:
            x: int = 1

        @component
        class Repository:
            def __init__(self, limits: far.Far): ...
        """
    )
    assert {cls.__name__ for cls in plan_of(users).settings} == {"Near", "Far"}


async def test_injection_costs_no_reflection_in_a_call(module: WriteModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once connected, a call reads no signature and evaluates no annotation."""
    users = module(
        """
        @component
        class Repository:
            def __init__(self, pgsql: Session): ...

        @users.rpc
        async def create_user(request: dict, context, *, repository: Repository, sessions: Store | None) -> dict:
            return {"id": request["id"]}
        """
    )

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("reflection in a call")

    service: Running
    async with running(users) as service:
        await service.call("CreateUser", id=1)
        for name in ("inspect.signature", "typing.get_type_hints", "inspect.iscoroutinefunction", "attrs.fields"):
            monkeypatch.setattr(name, refuse)
        assert (await service.call("CreateUser", id=2)).id == 2
        monkeypatch.undo()
