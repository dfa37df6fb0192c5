"""One plugin's life, from open to close, with a fault at every point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import structlog
from structlog.testing import capture_logs

from toolkit.manifest import Location, PluginDeclaration
from toolkit.plugins import Plugin, setting
from toolkit.runtime.lifecycle import PluginLifecycle
from toolkit.runtime.registry import PluginState
from toolkit.runtime.supervisor import PluginFailedError, Supervisor, SupervisorSettings


@attrs.frozen
class Settings:
    password: str = setting("", help="a secret", secret=True)


class Probe:
    """A resource that records what happens to it, and fails where it is told to."""

    def __init__(self, name: str = "probe", journal: list[str] | None = None, **faults: Any) -> None:
        self.name = name
        self.journal = journal if journal is not None else []
        self.faults: dict[str, Any] = faults

    async def reach(self, point: str) -> None:
        self.journal.append(f"{self.name}.{point}")
        fault = self.faults.get(point)
        if isinstance(fault, BaseException):
            raise fault
        if callable(fault):
            await fault()

    def plugin(self, **options: Any) -> Plugin[Settings, Probe]:
        @asynccontextmanager
        async def open_probe(_config: Settings, _host: Any) -> AsyncIterator[Probe]:
            await self.reach("open")
            try:
                yield self
            finally:
                await self.reach("close")

        async def check(probe: Probe) -> None:
            await probe.reach("check")

        return Plugin(
            name=f"{self.name}_type",
            config=Settings,
            open=open_probe,
            check=check,
            provides={Probe: lambda probe: probe},
            address=lambda _config: "127.0.0.1:1",
            **options,
        )


class Host:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.log = structlog.get_logger(plugin=prefix)
        self.manifest: Any = None

    def bind(self, function: Callable[..., Any]) -> Any:
        return function

    def around_call(self, middleware: Any) -> None: ...

    def mount(self, path: str, asgi: Any) -> None: ...

    def on_serving(self, function: Any) -> None: ...

    def on_draining(self, function: Any) -> None: ...


def supervise(probe: Probe, *, critical: bool = True, startup: float = 1.0, **options: Any) -> Supervisor:
    config = options.pop("config", Settings())
    return Supervisor(
        probe.plugin(**options),
        config,
        Host(probe.name),
        SupervisorSettings(critical=critical, startup_timeout=startup, check_interval=0.05, check_timeout=0.2),
    )


async def eventually(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def failing(times: int, error: Exception) -> Callable[[], Any]:
    remaining = iter(range(times))

    async def fail() -> None:
        if next(remaining, None) is not None:
            raise error

    return fail


async def test_start_opens_checks_prepares_and_stop_closes() -> None:
    """A plugin is opened, checked, prepared once, and closed once."""
    probe = Probe()
    supervisor = supervise(probe, prepare=lambda resource: resource.reach("prepare"))
    await supervisor.start()
    assert supervisor.instance.available
    assert supervisor.instance.resource is probe
    assert await supervisor.stop() is None
    assert await supervisor.stop() is None
    assert probe.journal == ["probe.open", "probe.check", "probe.prepare", "probe.close"]
    assert supervisor.instance.state is PluginState.STOPPED


async def test_critical_plugin_is_retried_until_its_budget_ends() -> None:
    """A critical plugin whose check never passes fails the start within its budget, with the last cause."""
    probe = Probe(check=ConnectionRefusedError("no one listens"))
    supervisor = supervise(probe, startup=0.5)
    with capture_logs() as logs, pytest.raises(PluginFailedError) as caught:
        await supervisor.start()
    assert str(caught.value) == "ConnectionRefusedError: no one listens"
    assert probe.journal.count("probe.check") >= 2
    assert [entry["event"] for entry in logs][-1] == "toolkit.plugin_failed"
    assert supervisor.is_open
    await supervisor.stop()
    assert probe.journal[-1] == "probe.close"


async def test_critical_plugin_that_comes_up_late_starts() -> None:
    """A server that is up after the third attempt is in time."""
    probe = Probe(check=failing(3, ConnectionRefusedError("not yet")))
    supervisor = supervise(probe, startup=5.0)
    await supervisor.start()
    assert supervisor.instance.available
    await supervisor.stop()


async def test_a_secret_never_shows_in_a_cause() -> None:
    """A driver's error that quotes the password is shown with the password blotted out."""
    probe = Probe(check=RuntimeError("login as x with hunter2-secret failed"))
    supervisor = supervise(probe, startup=0.15, config=Settings(password="hunter2-secret"))
    with capture_logs() as logs, pytest.raises(PluginFailedError) as caught:
        await supervisor.start()
    assert str(caught.value) == "RuntimeError: login as x with *** failed"
    assert "hunter2" not in str(logs)
    await supervisor.stop()


async def test_non_critical_plugin_degrades_at_once_and_heals() -> None:
    """A plugin that is not critical does not hold the start up, and is healed when its check passes."""
    probe = Probe(check=failing(3, ConnectionRefusedError("away")))
    supervisor = supervise(probe, critical=False, prepare=lambda resource: resource.reach("prepare"))
    with capture_logs() as logs:
        await supervisor.start()
        assert supervisor.instance.state is PluginState.DEGRADED
        cause = supervisor.instance.last_error
        supervisor.run()
        await eventually(lambda: supervisor.instance.available)
    assert (cause, supervisor.instance.last_error) == ("ConnectionRefusedError: away", None)
    assert probe.journal.count("probe.prepare") == 1
    names = [entry["event"] for entry in logs]
    assert names.count("toolkit.plugin_degraded") == 1
    assert names.count("toolkit.plugin_recovered") == 1
    await supervisor.stop()


async def test_plugin_that_dies_later_is_noticed_and_retried() -> None:
    """A running plugin whose check stops passing is degraded, and recovers by itself."""
    probe = Probe()
    changes: list[PluginState] = []
    supervisor = supervise(probe)
    supervisor._on_change = lambda: changes.append(supervisor.instance.state)
    await supervisor.start()
    supervisor.run()
    probe.faults["check"] = ConnectionResetError("gone")
    await eventually(lambda: changes[-1] is PluginState.DEGRADED)
    del probe.faults["check"]
    await eventually(lambda: changes[-1] is PluginState.READY)
    await supervisor.stop()
    assert changes == [PluginState.READY, PluginState.DEGRADED, PluginState.READY]


async def test_a_check_that_hangs_is_bounded() -> None:
    """A check without an answer counts as failed after CHECK_TIMEOUT."""
    probe = Probe(check=lambda: asyncio.sleep(3600))
    supervisor = supervise(probe, critical=False)
    await supervisor.start()
    assert supervisor.instance.last_error == "TimeoutError: no answer within 0.2 s"
    await supervisor.stop()


async def test_simultaneous_checks_are_one() -> None:
    """Ten callers at once cause one check of the server."""
    release = asyncio.Event()
    probe = Probe()
    supervisor = supervise(probe)
    await supervisor.start()
    probe.journal.clear()
    probe.faults["check"] = release.wait
    checks = [asyncio.create_task(supervisor.instance.check()) for _ in range(10)]
    await eventually(lambda: probe.journal == ["probe.check"])
    release.set()
    await asyncio.gather(*checks)
    assert probe.journal == ["probe.check"]
    await supervisor.stop()


async def test_open_that_fails_leaves_nothing_to_close() -> None:
    """A plugin whose open raises was never started, so nothing is closed."""
    probe = Probe(open=ValueError("bad settings"))
    supervisor = supervise(probe)
    with pytest.raises(PluginFailedError, match="^ValueError: bad settings$"):
        await supervisor.start()
    assert not supervisor.is_open
    assert await supervisor.stop() is None
    assert probe.journal == ["probe.open"]


async def test_open_that_hangs_is_cancelled() -> None:
    """An open that never yields is given up after the startup budget."""
    probe = Probe(open=lambda: asyncio.sleep(3600))
    supervisor = supervise(probe, startup=0.1)
    with pytest.raises(PluginFailedError, match="^open took longer than 0.1 s$"):
        await supervisor.start()
    assert not supervisor.is_open


async def test_close_that_hangs_does_not_hold_the_stop_up() -> None:
    """A close that never ends is cancelled after stop_timeout, and reported."""
    probe = Probe(close=lambda: asyncio.sleep(3600))
    supervisor = supervise(probe, stop_timeout=0.1)
    await supervisor.start()
    assert await supervisor.stop() == "closing took longer than 0.1 s"


async def test_close_that_raises_is_reported() -> None:
    """What close raises comes back as a cause, and the stop goes on."""
    probe = Probe(close=OSError("broken pipe"))
    supervisor = supervise(probe)
    await supervisor.start()
    assert await supervisor.stop() == "OSError: broken pipe"


async def test_background_coroutine_is_started_again_when_it_fails() -> None:
    """`run` is supervised: after an error it is started again, and cancelled at the stop."""
    probe = Probe(run=failing(2, RuntimeError("lost")))
    ended = asyncio.Event()

    async def run(resource: Probe) -> None:
        await resource.reach("run")
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    supervisor = supervise(probe, run=run)
    with capture_logs() as logs:
        await supervisor.start()
        supervisor.run()
        await eventually(lambda: probe.journal.count("probe.run") == 3)
        await supervisor.stop()
    assert ended.is_set()
    assert [entry["cause"] for entry in logs if entry["event"] == "toolkit.plugin_run_failed"] == [
        "RuntimeError: lost"
    ] * 2


def lifecycle(journal: list[str], *, needs: dict[str, tuple[str, ...]], **faults: dict[str, Any]) -> PluginLifecycle:
    supervisors = {
        name: supervise(Probe(name, journal, **faults.get(name, {})), startup=0.3) for name in ("a", "b", "c")
    }
    declarations = [
        PluginDeclaration(prefix=name, type="probe", needs=needs.get(name, ()), location=Location("x.proto", 1))
        for name in supervisors
    ]

    def explain(supervisor: Supervisor, declaration: PluginDeclaration, cause: str) -> Any:
        return f"{declaration.prefix}: {cause}"

    return PluginLifecycle(supervisors, declarations, explain=explain)


async def test_plugins_start_in_dependency_order_and_stop_in_reverse() -> None:
    """`needs` decides the order; stopping is exactly the reverse of starting."""
    journal: list[str] = []
    plugins = lifecycle(journal, needs={"a": ("c",), "b": ("a",)})
    assert await plugins.start() == ()
    assert await plugins.stop() == ()
    assert journal == [
        *("c.open", "c.check", "a.open", "a.check", "b.open", "b.check"),
        *("b.close", "a.close", "c.close"),
    ]


async def test_independent_plugins_start_together_and_all_failures_are_reported() -> None:
    """Two plugins that fail are both in the report; what had started is stopped."""
    journal: list[str] = []
    refused = ConnectionRefusedError("refused")
    plugins = lifecycle(journal, needs={}, a={"check": refused}, c={"open": ValueError("bad")})
    problems = await plugins.start()
    assert sorted(map(str, problems)) == ["a: ConnectionRefusedError: refused", "c: ValueError: bad"]
    assert await plugins.stop() == ()
    assert sorted(line for line in journal if line.endswith("close")) == ["a.close", "b.close"]


@pytest.mark.parametrize("point", ["open", "check", "close"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_a_fault_at_any_point_leaves_nothing_open(point: str, name: str) -> None:
    """Wherever one of three plugins fails, each that was opened is closed exactly once, in reverse."""
    journal: list[str] = []
    before = asyncio.all_tasks()
    plugins = lifecycle(journal, needs={"b": ("a",), "c": ("b",)}, **{name: {point: OSError("fault")}})
    problems = await plugins.start()
    causes = await plugins.stop()
    assert [f"{name}: OSError: fault"] == list(map(str, problems)) + list(causes)
    failed_open = {name} if point == "open" else set()
    opened = [line[0] for line in journal if line.endswith("open") and line[0] not in failed_open]
    closed = [line[0] for line in journal if line.endswith("close")]
    assert closed == opened[::-1]
    assert asyncio.all_tasks() == before
