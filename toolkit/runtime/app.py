"""App, the composition root: a checked service, started, serving, and stopped without losing a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import structlog

from toolkit.errors import Problem, StartupError
from toolkit.manifest import PluginDeclaration
from toolkit.runtime import events
from toolkit.runtime.dispatch import Dispatcher
from toolkit.runtime.health import Health
from toolkit.runtime.host import HostRequests, PluginHost
from toolkit.runtime.lifecycle import Phase, PluginLifecycle, run_bounded
from toolkit.runtime.masking import describe_cause
from toolkit.runtime.registry import Instance, Registry
from toolkit.runtime.setup import Setup
from toolkit.runtime.supervisor import Supervisor, SupervisorSettings, bind_log

__all__ = ["App"]

#: How long one ``@on_start`` function may take, in seconds.
_START_HOOK_TIMEOUT = 15.0
#: How long one ``@on_stop`` function or ``on_draining`` callback may take, in seconds.
_STOP_HOOK_TIMEOUT = 5.0
#: How long all components together may take to close, in seconds.
_COMPONENTS_CLOSE_TIMEOUT = 5.0
#: What of the shutdown timeout is kept for hooks and plugins after the calls have ended.
_CLOSING_SHARE = 0.3
#: How long a cancelled call may take for its ``finally`` blocks, in seconds.
_FINALLY_GRACE = 5.0


class App:
    """One service of one process.

    ``async with App(setup) as app`` starts it and stops it; ``await app.serve(stop)`` runs
    it until an event is set. An App is started once.
    """

    def __init__(self, setup: Setup) -> None:
        setup.raise_problems()
        self.setup = setup
        self.manifest = setup.manifest
        self.config = setup.config
        #: The opened plugins; empty until the start.
        self.registry = Registry()
        self.health = Health([service.full_name for service in self.manifest.served])
        self.phase = Phase.INITIALIZATION
        self.log: structlog.typing.FilteringBoundLogger = structlog.get_logger(service=self.name)
        self._dispatcher: Dispatcher | None = None
        self._requests = HostRequests()
        self._plugins: PluginLifecycle | None = None
        self._instances: dict[str, Instance] = {}
        self._stack = AsyncExitStack()
        self._server: Any = None
        self._began = self._phase_began = time.monotonic()

    @property
    def name(self) -> str:
        """The service's name: the manifest's ``app.name``, else its first served service's."""
        declared = self.manifest.app.name if self.manifest.app else ""
        served = self.manifest.served
        return declared or (served[0].full_name if served else "toolkit")

    @property
    def version(self) -> str:
        """The manifest's ``app.version``, or an empty text."""
        return self.manifest.app.version if self.manifest.app else ""

    @property
    def grpc_address(self) -> str:
        """``host:port`` where gRPC is served; empty until the service has started."""
        address: str = self._server.address if self._server is not None else ""
        return address

    @property
    def dispatcher(self) -> Dispatcher:
        """Every method, ready to be called.

        Raises:
            RuntimeError: the app is not running.
        """
        if self._dispatcher is None:
            raise RuntimeError(f"{self.name} is not running (phase: {self.phase})")
        return self._dispatcher

    # Start

    async def start(self, *, serve: bool = True) -> None:
        """Open the plugins, run the hooks, and take calls; a failed start is rolled back.

        With ``serve`` false no listener is opened: calls come through the dispatcher alone.

        Raises:
            StartupError: a critical plugin, a hook or a port failed; its first problem is the first cause.
        """
        if self.phase is not Phase.INITIALIZATION:
            raise RuntimeError(f"an App is started once; this one is in the phase {self.phase}")
        for warning in self.setup.warnings:
            self.log.warning(events.WARNING_FOUND, warning=str(warning))
        for line in self.setup.not_served:
            self.log.info(events.NOT_SERVED, what=line)
        try:
            self._enter(Phase.PRE_START)
            await self._open_plugins()
            for path, _ in self._requests.mounts:
                self.log.info(events.NOT_SERVED, what=f"the application that a plugin mounts at {path}")
            self._enter(Phase.ON_START)
            await self._connect()
            if serve:
                await self._listen()
            await self._run_all("on_serving", self._requests.serving, _START_HOOK_TIMEOUT)
        except BaseException:
            await self._roll_back()
            raise
        self._enter(Phase.RUNNING)
        self._refresh_health()
        self.log.info(
            events.SERVICE_STARTED,
            grpc=self.grpc_address,
            services=[service.full_name for service in self.manifest.served],
            duration_ms=_ms_since(self._began),
        )

    async def _open_plugins(self) -> None:
        supervisors = {prefix: self._supervise(prefix) for prefix in self.setup.plugins}
        self._instances.update({prefix: item.instance for prefix, item in supervisors.items()})
        self.registry = Registry(self._instances)
        self._plugins = PluginLifecycle(supervisors, self.manifest.plugins, explain=self._explain_failure)
        problems = await self._plugins.start()
        if problems:
            raise StartupError(problems)

    def _supervise(self, prefix: str) -> Supervisor:
        plugin = self.setup.plugins[prefix]
        config = self.config.plugins[prefix]
        host = PluginHost(prefix, bind_log(prefix, plugin), self.manifest, self._requests, self._bind_callback)
        settings = SupervisorSettings(
            critical=config.critical,
            startup_timeout=config.startup_timeout,
            check_interval=config.check_interval,
            check_timeout=config.check_timeout,
        )
        return Supervisor(plugin, config.value, host, settings, on_change=self._refresh_health)

    def _bind_callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.setup.plan.check_function(function)

        async def call(*args: Any) -> Any:
            return await self.dispatcher.bind(function)(*args)

        return call

    async def _connect(self) -> None:
        connected = self.setup.plan.connect(
            self.registry,
            app=self,
            settings=self.config.app,
            around=tuple(self._requests.around),
        )
        self._dispatcher = await self._stack.enter_async_context(connected)
        if self._plugins is not None:
            self._plugins.run()
        await self._run_all("on_start", self._dispatcher.start_hooks, _START_HOOK_TIMEOUT)

    async def _listen(self) -> None:
        # grpc is paid for by a service that serves it, not by a test that calls the dispatcher.
        from toolkit.runtime.servers.grpc import GrpcServer, GrpcServerSettings

        runtime = self.config.runtime
        self._server = GrpcServer(
            GrpcServerSettings(
                listen=runtime.grpc_server_listen,
                port=runtime.grpc_server_port,
                max_receive_message_size=runtime.grpc_server_max_receive_message_size,
                max_send_message_size=runtime.grpc_server_max_send_message_size,
                max_concurrent_calls=runtime.grpc_server_max_concurrent_calls,
                port_variable=self.setup.variable("GRPC_SERVER_PORT"),
            ),
            self.manifest,
            self.dispatcher.endpoints,
            self.health,
        )
        await self._server.start()

    def _explain_failure(self, supervisor: Supervisor, declaration: PluginDeclaration, cause: str) -> Problem:
        instance = supervisor.instance
        at = f" at {supervisor.address}" if supervisor.address else ""
        names = instance.plugin.dev.addressed_by if instance.plugin.dev else ()
        variables = ", ".join(self.setup.variable(declaration.prefix, name) for name in names)
        cure = f"start the server, or say where it is ({variables})" if variables else "start what it connects to"
        critical = self.setup.variable(declaration.prefix, "CRITICAL")
        return Problem(
            code="plugin.unavailable",
            where=str(declaration.location),
            what=f"{declaration.prefix} ({instance.type}){at} is not available: {cause}",
            fix=f"{cure}; with {critical}=false the service starts without it",
        )

    # Stop

    async def stop(self, *, reason: str = "stop") -> None:
        """Stop taking calls, let those under way finish, then close everything in reverse; raises nothing."""
        if self.phase in (Phase.ON_STOP, Phase.STOPPED, Phase.INITIALIZATION):
            return
        began = time.monotonic()
        runtime = self.config.runtime
        deadline = began + runtime.shutdown_timeout
        self.log.info(events.SERVICE_STOPPING, reason=reason)
        self.health.drain()
        errors = await self._run_each("on_draining", self._requests.draining, _STOP_HOOK_TIMEOUT)
        if self._server is not None and runtime.shutdown_drain_delay:
            await asyncio.sleep(min(runtime.shutdown_drain_delay, runtime.shutdown_timeout / 2))
        self._enter(Phase.ON_STOP)
        patience = max((deadline - time.monotonic()) * (1 - _CLOSING_SHARE), 0.0)
        await self._finish_calls(patience)
        errors += await self._close()
        self._enter(Phase.STOPPED)
        self.log.info(events.SERVICE_STOPPED, duration_ms=_ms_since(began), errors=errors)

    async def _finish_calls(self, patience: float) -> None:
        until = time.monotonic() + patience
        if self._server is not None:
            await self._server.stop(patience)
        if self._dispatcher is None:
            return
        # The engine gives a call up when its time is over; its handler may still be in a
        # `finally` block, and that block may still need its plugins.
        calls = set(self._dispatcher.in_flight)
        if calls:
            _, calls = await asyncio.wait(calls, timeout=max(until - time.monotonic(), 0.0))
        if calls:
            self.log.warning(events.CALLS_CANCELLED, calls=len(calls))
            for call in calls:
                call.cancel()
            await asyncio.wait(calls, timeout=_FINALLY_GRACE)

    async def _close(self) -> list[str]:
        errors: list[str] = []
        if self._dispatcher is not None:
            errors += await self._run_each("on_stop", self._dispatcher.stop_hooks, _STOP_HOOK_TIMEOUT)
        try:
            await run_bounded(self._stack.aclose, timeout=_COMPONENTS_CLOSE_TIMEOUT)
        except Exception as error:
            errors.append(describe_cause(error))
            self.log.exception(events.HOOK_FAILED, hook="components", cause=errors[-1])
        self._dispatcher = None
        if self._plugins is not None:
            errors += await self._plugins.stop()
        return errors

    async def _roll_back(self) -> None:
        self.health.drain()
        self._enter(Phase.ON_STOP)
        await self._finish_calls(0.0)
        await self._close()
        self._enter(Phase.STOPPED)

    # Running

    async def serve(self, stop: asyncio.Event, *, on_started: Callable[[App], None] = lambda _app: None) -> None:
        """Start, serve until ``stop`` is set, and stop; a start that is under way then is rolled back."""
        starting = asyncio.ensure_future(self.start())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
                return
            await starting
        finally:
            stopping.cancel()
        try:
            on_started(self)
            await stop.wait()
        finally:
            await self.stop(reason="signal" if stop.is_set() else "error")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def _refresh_health(self) -> None:
        if self.phase is not Phase.RUNNING:
            return
        down = {item.prefix for item in self.registry if item.critical and not item.available}
        uses: Mapping[str, frozenset[str]] = self.setup.plan.service_uses
        for service in self.manifest.served:
            self.health.set(service.full_name, serving=not down & uses.get(service.full_name, frozenset()))
        self.health.set("", serving=not down)

    # Hooks

    async def _run_all(self, kind: str, hooks: Sequence[Callable[[], Any]], timeout: float) -> None:
        for hook in hooks:
            error = await self._run_hook(kind, hook, timeout)
            if error is not None:
                name = _hook_name(hook)
                problem = Problem(
                    code="lifecycle.hook_failed",
                    what=f"{kind} {name} failed: {describe_cause(error)}",
                    fix="the log has its traceback",
                )
                raise StartupError([problem]) from error

    async def _run_each(self, kind: str, hooks: Sequence[Callable[[], Any]], timeout: float) -> list[str]:
        outcomes = [(hook, await self._run_hook(kind, hook, timeout)) for hook in hooks]
        return [f"{_hook_name(hook)}: {describe_cause(error)}" for hook, error in outcomes if error is not None]

    async def _run_hook(self, kind: str, hook: Callable[[], Any], timeout: float) -> Exception | None:
        began = time.monotonic()
        try:
            await run_bounded(hook, timeout=timeout)
        except Exception as error:
            cause = describe_cause(error)
            self.log.error(events.HOOK_FAILED, kind=kind, hook=_hook_name(hook), cause=cause, exc_info=error)
            return error
        self.log.debug(events.HOOK_COMPLETED, kind=kind, hook=_hook_name(hook), duration_ms=_ms_since(began))
        return None

    def _enter(self, phase: Phase) -> None:
        now = time.monotonic()
        self.log.debug(
            events.PHASE_COMPLETED,
            phase=str(self.phase),
            duration_ms=round((now - self._phase_began) * 1000, 1),
        )
        self.phase = phase
        self._phase_began = now


def _hook_name(hook: Callable[[], Any]) -> str:
    return str(getattr(hook, "name", None) or getattr(hook, "__qualname__", repr(hook)))


def _ms_since(start: float) -> float:
    return round((time.monotonic() - start) * 1000, 1)
