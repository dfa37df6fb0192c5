"""A whole service in process: start, degradation, recovery and stop, on real servers."""

# No `from __future__ import annotations`: classes that stand inside a test are injected by their real types.
import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from toolkit import App, Code, Context, Registry, Service, component, middleware, on_start, on_stop
from toolkit.cli.compile import compile_protos
from toolkit.devservices import open_server
from toolkit.errors import CheckError, StartupError
from toolkit.plugins import DevServer, Plugin
from toolkit.runtime.health import ServingStatus
from toolkit.testing import running_app

PROTO = """
syntax = "proto3";
package shop.v1;
import "toolkit/annotations.proto";
%s
service Shop {
  rpc Buy(Text) returns (Text);
  rpc Look(Text) returns (Text);
}
message Text { string text = 1; }
"""

CACHE = 'option (toolkit.plugins) = {prefix: "cache" plugin: "redis"};'
PGSQL = 'option (toolkit.plugins) = {prefix: "pgsql" plugin: "postgres_gorm"};'
THREE = "\n".join(f'option (toolkit.plugins) = {{prefix: "{name}" plugin: "probe"}};' for name in "abc")


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], bytes]:
    def compile_shop(options: str) -> bytes:
        path = tmp_path / "shop.proto"
        path.write_text(PROTO % options, encoding="utf-8")
        return compile_protos([path])

    return compile_shop


def module(**members: Any) -> ModuleType:
    """A module of handlers that exists for one test."""
    made = ModuleType("handlers_of_the_test")
    for name, member in members.items():
        setattr(made, name, member)
    return made


def shop_of(buy: Any, look: Any = None) -> Service:
    shop = Service("shop.v1.Shop")
    shop.rpc("Buy")(buy)
    shop.rpc("Look")(look or buy)
    return shop


async def echo(request: Any) -> Any:
    return request


async def eventually(condition: Callable[[], bool], *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@attrs.frozen
class NoSettings:
    pass


class Probe:
    def __init__(self, name: str, journal: list[str], fault: str = "") -> None:
        self.name = name
        self.journal = journal
        self.fault = fault

    async def reach(self, point: str) -> None:
        self.journal.append(f"{self.name}.{point}")
        if self.fault == point:
            raise OSError(f"fault at {self.name}.{point}")

    def plugin(self) -> Plugin[Any, Any]:
        @asynccontextmanager
        async def open_probe(_config: NoSettings, _host: Any) -> AsyncIterator[Probe]:
            await self.reach("open")
            try:
                yield self
            finally:
                await self.reach("close")

        async def check(probe: Probe) -> None:
            await probe.reach("check")

        async def run(probe: Probe) -> None:
            await probe.reach("run")
            await asyncio.sleep(3600)

        return Plugin(
            name="probe", config=NoSettings, open=open_probe, check=check, run=run, provides={Probe: lambda it: it}
        )


async def test_phases_hooks_components_and_plugins_in_order(compiled: Callable[[str], bytes]) -> None:
    """Plugins start before components, components before hooks; the stop is exactly the reverse."""
    journal: list[str] = []

    @component
    class Repository:
        def __init__(self, a: Probe) -> None:
            journal.append("component built")

        async def __aenter__(self) -> None:
            journal.append("component entered")

        async def __aexit__(self, *_: object) -> None:
            journal.append("component left")

    @on_start
    async def first(*, repository: Repository) -> None:
        journal.append("on_start")

    @on_stop
    async def last(*, repository: Repository) -> None:
        journal.append("on_stop")

    plugins = {name: Probe(name, journal).plugin() for name in "abc"}
    handlers = module(shop=shop_of(echo), first=first, last=last)
    async with running_app(compiled(THREE), handlers=[handlers], replacements=plugins) as service:
        assert (await service.call("Buy", {"text": "x"})).text == "x"
        assert service.app.health.status("") is ServingStatus.SERVING
        journal.append("running")
    quiet = [line for line in journal if not line.endswith((".check", ".run"))]
    assert quiet[:3] == ["a.open", "b.open", "c.open"]
    assert quiet[3:] == [
        *("component built", "component entered", "on_start", "running", "on_stop", "component left"),
        *("c.close", "b.close", "a.close"),
    ]
    names = [event["event"] for event in service.events]
    assert names[-1] == "toolkit.service_stopped"
    phases = [event["phase"] for event in service.events if event["event"] == "toolkit.phase_completed"]
    assert phases == ["Initialization", "PreStart", "OnStart", "Running", "OnStop"]


@pytest.mark.parametrize("point", ["open", "check", "on_start", "component", "run"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_fault_at_each_point_rolls_back(compiled: Callable[[str], bytes], point: str, name: str) -> None:
    """Wherever the start fails, what was started is stopped once, in reverse, and nothing is left."""
    journal: list[str] = []

    @component
    class Repository:
        def __init__(self, a: Probe) -> None:
            if point == "component":
                raise OSError("fault at component")

        async def __aexit__(self, *_: object) -> None:
            journal.append("component left")

        async def __aenter__(self) -> None: ...

    @on_start
    async def hook(*, repository: Repository) -> None:
        if point == "on_start":
            raise OSError("fault at on_start")

    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    plugins = {item: Probe(item, journal, point if item == name else "").plugin() for item in "abc"}
    environ = {f"SHOP_{item.upper()}_STARTUP_TIMEOUT": "0.3" for item in "abc"}
    app = running_app(
        compiled(THREE), handlers=[module(shop=shop_of(echo), hook=hook)], replacements=plugins, environ=environ
    )
    if point == "run":  # supervised: it is started again, and fails no start
        async with app as service:
            await eventually(lambda: journal.count(f"{name}.run") >= 2, seconds=5)
        assert [e["event"] for e in service.events].count("toolkit.plugin_run_failed") >= 1
    else:
        with pytest.raises(StartupError) as caught:
            async with app:
                pass
        assert len(caught.value.problems) == 1
        expected = f"fault at {point}" if point in ("on_start", "component") else f"fault at {name}.{point}"
        assert expected in str(caught.value)
    opened = [line[0] for line in journal if line.endswith(".open") and not (point == "open" and line[0] == name)]
    closed = [line[0] for line in journal if line.endswith(".close")]
    assert sorted(closed) == sorted(opened)
    assert len(set(closed)) == len(closed)
    assert asyncio.all_tasks() == tasks
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= threads


async def test_two_failing_plugins_are_both_reported(compiled: Callable[[str], bytes]) -> None:
    """Plugins that fail at the same start are all in the report, each with its line."""
    plugins = {name: Probe(name, [], "check" if name != "b" else "").plugin() for name in "abc"}
    environ = {f"SHOP_{item.upper()}_STARTUP_TIMEOUT": "0.2" for item in "abc"}
    with pytest.raises(StartupError) as caught:
        async with running_app(
            compiled(THREE), handlers=[module(shop=shop_of(echo))], replacements=plugins, environ=environ
        ):
            pass
    assert sorted(str(problem).splitlines()[0] for problem in caught.value.problems) == [
        "shop.proto:5: a (probe) is not available: OSError: fault at a.check",
        "shop.proto:7: c (probe) is not available: OSError: fault at c.check",
    ]


async def test_non_critical_plugin_down_degrades_and_heals(compiled: Callable[[str], bytes]) -> None:
    """A cache that is away gives None or UNAVAILABLE; when it returns, both work again by themselves."""

    async def optional(request: Any, *, cache: Redis | None) -> dict[str, str]:
        return {"text": "degraded" if cache is None else str(await cache.ping())}

    async def plain(request: Any, *, cache: Redis) -> dict[str, str]:
        return {"text": str(await cache.ping())}

    async with open_server("redis") as server:
        database = await server.create_database("cache")
        async with running_app(
            compiled(CACHE), handlers=[module(shop=shop_of(optional, plain))], servers={"cache": database}
        ) as service:
            assert (await service.call("Buy")).text == "True"
            assert (await service.call("Look")).text == "True"
            instance = service.app.registry["cache"]
            await server.kill()
            await eventually(lambda: not instance.available, seconds=12)
            assert (await service.call("Buy")).text == "degraded"
            status = await service.abort("Look")
            assert status.code is Code.UNAVAILABLE
            assert service.app.health.status("shop.v1.Shop") is ServingStatus.SERVING
            await server.restart()
            await eventually(lambda: instance.available, seconds=10)
            assert (await service.call("Buy")).text == "True"
            assert (await service.call("Look")).text == "True"
    names = [event["event"] for event in service.events]
    assert "toolkit.plugin_degraded" in names
    assert "toolkit.plugin_recovered" in names


async def test_critical_plugin_that_dies_later_turns_health(compiled: Callable[[str], bytes]) -> None:
    """A database that dies while the service runs: health NOT_SERVING, calls still answered, then recovery."""

    async def look(request: Any, *, pgsql: AsyncEngine) -> dict[str, str]:
        async with pgsql.connect() as connection:
            return {"text": str((await connection.execute(text("SELECT 42"))).scalar_one())}

    async with open_server("postgres") as server:
        database = await server.create_database("pgsql")
        async with running_app(
            compiled(PGSQL),
            handlers=[module(shop=shop_of(echo, look))],
            servers={"pgsql": database},
            environ={"SHOP_PGSQL_CHECK_INTERVAL": "0.2s"},
        ) as service:
            health = service.app.health
            assert (await service.call("Look")).text == "42"
            await server.kill()
            await eventually(lambda: health.status("shop.v1.Shop") is ServingStatus.NOT_SERVING, seconds=10)
            assert health.status("") is ServingStatus.NOT_SERVING
            assert (await service.call("Buy", {"text": "still"})).text == "still"
            assert (await service.abort("Look")).code is Code.INTERNAL
            await server.restart()
            await eventually(lambda: health.status("shop.v1.Shop") is ServingStatus.SERVING, seconds=10)
            assert (await service.call("Look")).text == "42"


async def test_calls_under_way_end_before_plugins_close(compiled: Callable[[str], bytes]) -> None:
    """A stop waits for a running handler, whose `finally` still finds its plugin open."""
    journal: list[str] = []
    entered = asyncio.Event()

    async def slow(request: Any, *, a: Probe) -> Any:
        entered.set()
        try:
            await asyncio.sleep(0.3)
            return request
        finally:
            journal.append("handler ended")

    plugins = {name: Probe(name, journal).plugin() for name in "abc"}
    async with running_app(compiled(THREE), handlers=[module(shop=shop_of(slow))], replacements=plugins) as service:
        call = asyncio.create_task(service.call("Buy", {"text": "x"}))
        await entered.wait()
    assert (await call).text == "x"
    quiet = [line for line in journal if line.endswith(("ended", ".close"))]
    assert quiet == ["handler ended", "c.close", "b.close", "a.close"]


async def test_handler_that_never_ends_is_cancelled_and_its_finally_runs(compiled: Callable[[str], bytes]) -> None:
    """When the stop's patience ends, a call is cancelled, and its `finally` runs before any plugin closes."""
    journal: list[str] = []
    entered = asyncio.Event()

    async def endless(request: Any, *, a: Probe) -> Any:
        entered.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            journal.append("finally")

    plugins = {name: Probe(name, journal).plugin() for name in "abc"}
    async with running_app(
        compiled(THREE),
        handlers=[module(shop=shop_of(endless))],
        replacements=plugins,
        environ={"SHOP_SHUTDOWN_TIMEOUT": "1s"},
    ) as service:
        call = asyncio.create_task(service.call("Buy"))
        await entered.wait()
    await asyncio.wait({call})
    assert call.cancelled()
    assert [line for line in journal if line.endswith(("finally", ".close"))] == [
        *("finally", "c.close", "b.close", "a.close"),
    ]


async def test_registry_lets_a_handler_check_its_plugins(compiled: Callable[[str], bytes]) -> None:
    """The registry gives prefix, type and state of each plugin, its views, and its check."""

    async def report(request: Any, *, registry: Registry) -> dict[str, str]:
        lines = []
        for instance in registry:
            await instance.check()
            lines.append(f"{instance.prefix} {instance.type} {instance.state.value} {instance.critical}")
        return {"text": "; ".join(lines)}

    plugins = {name: Probe(name, []).plugin() for name in "abc"}
    async with running_app(compiled(THREE), handlers=[module(shop=shop_of(report))], replacements=plugins) as service:
        assert (await service.call("Buy")).text == "a probe ready True; b probe ready True; c probe ready True"
        probe = service.app.registry.get("a", Probe)
        assert probe.name == "a"
        with pytest.raises(KeyError, match="no plugin is declared under the prefix 'd'"):
            service.app.registry.get("d", Probe)
        with pytest.raises(TypeError, match="probe does not provide it"):
            service.app.registry.get("a", Redis)


async def test_a_handlers_error_shows_only_its_id(compiled: Callable[[str], bytes]) -> None:
    """What a handler raises reaches the client as INTERNAL with an id; the log has id and traceback."""

    async def broken(request: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    async with running_app(compiled(""), handlers=[module(shop=shop_of(broken))]) as service:
        status = await service.abort("Buy")
    (event,) = [event for event in service.events if event["event"] == "toolkit.call_failed"]
    assert status.code is Code.INTERNAL
    assert status.message == f"internal error, id {event['error_id']}"
    assert event["rpc_method"] == "/shop.v1.Shop/Buy"


async def test_middlewares_surround_every_method(compiled: Callable[[str], bytes]) -> None:
    """A middleware sees the call, is injected, and may change the reply."""

    @middleware
    async def loud(call: Context, proceed: Any, *, registry: Registry) -> Any:
        reply = await proceed(call)
        reply.text = f"{reply.text.upper()} {len(registry)}"
        return reply

    async with running_app(compiled(""), handlers=[module(shop=shop_of(echo), loud=loud)]) as service:
        assert (await service.call("Buy", {"text": "x"})).text == "X 0"


async def test_two_instances_of_one_type(
    compiled: Callable[[str], bytes], postgres_database: DevServer, redis_server: Any
) -> None:
    """Two caches and a database: each name gets its own."""
    options = (
        'option (toolkit.plugins) = {prefix: "hot" plugin: "redis"};'
        'option (toolkit.plugins) = {prefix: "cold" plugin: "redis"};' + PGSQL
    )

    async def swap(request: Any, *, hot: Redis, cold: Redis, pgsql: AsyncEngine) -> dict[str, str]:
        await hot.set("key", "hot")
        await cold.set("key", "cold")
        return {"text": f"{await hot.get('key')!r} {await cold.get('key')!r}"}

    servers = {
        "hot": await redis_server.create_database("hot"),
        "cold": await redis_server.create_database("cold"),
        "pgsql": postgres_database,
    }
    async with running_app(compiled(options), handlers=[module(shop=shop_of(swap))], servers=servers) as service:
        assert (await service.call("Buy")).text == "b'hot' b'cold'"


async def test_bad_configuration_opens_nothing(compiled: Callable[[str], bytes]) -> None:
    """With a problem in the environment no plugin is opened at all."""
    journal: list[str] = []
    plugins = {name: Probe(name, journal).plugin() for name in "abc"}
    with pytest.raises(CheckError):
        async with running_app(
            compiled(THREE),
            handlers=[module(shop=shop_of(echo))],
            replacements=plugins,
            environ={"SHOP_LOG_LEVEL": "loud"},
        ):
            pass
    assert journal == []


async def test_a_plugin_uses_its_window_on_the_runtime(compiled: Callable[[str], bytes]) -> None:
    """A plugin's middleware, injected callback, and serving and draining callbacks run when they should."""
    journal: list[str] = []
    option = 'option (toolkit.plugins) = {prefix: "a" plugin: "probe"};'

    async def callback(event: str, *, a: Probe) -> str:
        return f"{event} {a.name}"

    @asynccontextmanager
    async def open_probe(_config: NoSettings, host: Any) -> AsyncIterator[Probe]:
        probe = Probe(host.prefix, journal)
        bound = host.bind(callback)

        async def around(call: Context, proceed: Any) -> Any:
            journal.append(f"before {call.method.name}")
            reply = await proceed(call)
            journal.append("after")
            return reply

        async def serving() -> None:
            journal.append(await bound("serving"))

        async def draining() -> None:
            journal.append(await bound("draining"))

        async def asgi(*_: Any) -> None: ...

        host.around_call(around)
        host.on_serving(serving)
        host.on_draining(draining)
        host.mount("/probe", asgi)
        yield probe

    async def check(_probe: Probe) -> None: ...

    plugin = Plugin(name="probe", config=NoSettings, open=open_probe, check=check, provides={Probe: lambda it: it})

    async def buy(request: Any) -> Any:
        journal.append("handler")
        return request

    async with running_app(
        compiled(option), handlers=[module(shop=shop_of(buy))], replacements={"a": plugin}
    ) as service:
        await service.call("Buy")
    assert journal == ["serving a", "before Buy", "handler", "after", "draining a"]
    notices = [event["what"] for event in service.events if event["event"] == "toolkit.not_served_yet"]
    assert notices == ["the application that a plugin mounts at /probe"]


async def test_a_plugins_callback_that_cannot_be_injected_fails_the_start(compiled: Callable[[str], bytes]) -> None:
    """A callback that asks for what is not declared is a start that fails, with the callback's signature."""
    option = 'option (toolkit.plugins) = {prefix: "a" plugin: "probe"};'

    async def callback(*, b: Probe) -> None: ...

    @asynccontextmanager
    async def open_probe(_config: NoSettings, host: Any) -> AsyncIterator[Probe]:
        host.bind(callback)
        yield Probe("a", [])

    async def check(_probe: Probe) -> None: ...

    plugin = Plugin(name="probe", config=NoSettings, open=open_probe, check=check, provides={Probe: lambda it: it})
    with pytest.raises(StartupError) as caught:
        async with running_app(compiled(option), handlers=[module(shop=shop_of(echo))], replacements={"a": plugin}):
            pass
    assert "callback(*, b: Probe)" in str(caught.value)


async def test_a_server_class_with_an_injected_constructor(compiled: Callable[[str], bytes]) -> None:
    """The original's style: a server built from the app and a repository, which itself takes app and plugin."""

    @component
    class Repository:
        def __init__(self, app: App, a: Probe) -> None:
            self.app, self.probe = app, a

    shop = Service("shop.v1.Shop")

    @shop.implement
    class Server:
        def __init__(self, app: App, repository: Repository) -> None:
            self.app, self.repository = app, repository

        async def buy(self, request: Any) -> dict[str, str]:
            assert self.app is self.repository.app
            return {"text": f"{self.app.name} {self.repository.probe.name} {request.text}"}

        async def look(self, request: Any, context: Context) -> dict[str, str]:
            return {"text": context.method.name}

    plugins = {name: Probe(name, []).plugin() for name in "abc"}
    async with running_app(compiled(THREE), handlers=[module(shop=shop)], replacements=plugins) as service:
        assert (await service.call("Buy", {"text": "tea"})).text == "shop.v1.Shop a tea"
        assert (await service.call("Look")).text == "Look"
