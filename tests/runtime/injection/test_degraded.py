"""What a call receives while a plugin is degraded."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import running
from toolkit.errors import Abort, Code
from toolkit.runtime.registry import PluginState

WriteModule = Callable[..., ModuleType]

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


async def test_an_implementation_fails_fast_like_its_handlers(module: WriteModule) -> None:
    """What the constructor of an implementation needs, all its methods need."""
    users = module(
        """
        @users.implement
        class Users:
            def __init__(self, sessions: Store): ...
            async def ping(self, request): return {}
        """
    )
    async with running(users) as service:
        await service.call("Ping")
        service.registry["sessions"].state = PluginState.DEGRADED
        with capture_logs():
            await unavailable(service.call("Ping"))


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
