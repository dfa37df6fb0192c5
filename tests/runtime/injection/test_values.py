"""What parameters receive: views by name, components and settings by type, the runtime's own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import SHOP, Running, plan_of, running, shop

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
