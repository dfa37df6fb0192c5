"""One plugin's life: opened in a task of its own, checked, prepared, run, healed, closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import structlog

from toolkit.plugins import Host, Plugin
from toolkit.runtime import events
from toolkit.runtime.masking import describe_cause, secrets_of
from toolkit.runtime.registry import Instance, PluginState

__all__ = ["PluginFailedError", "Supervisor", "SupervisorSettings"]

#: The first pause between two attempts, in seconds; each further one is twice as long …
_FIRST_PAUSE = 0.1
#: … up to this. A server that comes back is noticed within it.
_LONGEST_PAUSE = 2.0
#: How long a plugin's close may take after it was cancelled, before it is given up on.
_CANCEL_GRACE = 1.0


class PluginFailedError(Exception):
    """A critical plugin did not start; the text is the cause, in a line without secrets."""


@attrs.frozen(kw_only=True)
class SupervisorSettings:
    """What the environment says of one plugin's supervision; durations in seconds."""

    critical: bool
    startup_timeout: float
    check_interval: float
    check_timeout: float


class Supervisor:
    """Opens one plugin, keeps checking it, and closes it exactly once.

    The plugin's context manager is entered and left in one task, so that whatever is
    bound to a task (context variables, cancel scopes) works inside it.
    """

    def __init__(
        self,
        plugin: Plugin[Any, Any],
        config: Any,
        host: Host,
        settings: SupervisorSettings,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._plugin = plugin
        self._host = host
        self._settings = settings
        self._on_change = on_change
        self._secrets = secrets_of(config)
        self._log = host.log
        self._opened: asyncio.Future[Any] | None = None
        self._leave = asyncio.Event()
        self._holder: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        self._running_check: asyncio.Task[None] | None = None
        self._prepared = plugin.prepare is None
        self.address = plugin.address(config)
        self.instance = Instance(
            host.prefix, plugin, config=config, critical=settings.critical, resource=None, check=self.check
        )

    # PreStart

    async def start(self) -> None:
        """Open, check and prepare the plugin within its startup budget.

        A plugin that is not critical is checked once; whatever it finds, the start goes on.

        Raises:
            PluginFailedError: the plugin could not be opened, or is critical and no check passed.
        """
        started = time.monotonic()
        deadline = started + self._settings.startup_timeout
        await self._open(deadline)
        self._log.debug(events.PLUGIN_OPENED, address=self.address, duration_ms=_ms_since(started))
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._check_and_prepare(deadline)
                break
            except Exception as error:  # noqa: BLE001 -- the boundary to a plugin: every failure becomes a state
                cause = self._describe(error)
            if not self._settings.critical:
                self._set_degraded(cause)
                return
            if time.monotonic() + pause >= deadline:
                self._log.error(events.PLUGIN_FAILED, address=self.address, cause=cause)
                raise PluginFailedError(cause)
            self._log.warning(events.PLUGIN_RETRIED, address=self.address, cause=cause, retry_in_ms=int(pause * 1000))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._log.info(events.PLUGIN_STARTED, address=self.address, duration_ms=_ms_since(started))

    async def _open(self, deadline: float) -> None:
        self._opened = asyncio.get_running_loop().create_future()
        self._holder = asyncio.create_task(self._hold(self._opened), name=f"toolkit plugin {self._host.prefix}")
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                self.instance.resource = await asyncio.shield(self._opened)
        except TimeoutError:
            await self._abandon()
            raise PluginFailedError(f"open took longer than {self._settings.startup_timeout:g} s") from None
        except asyncio.CancelledError:
            await self._abandon()
            raise
        except Exception as error:
            raise PluginFailedError(self._describe(error)) from error

    async def _hold(self, opened: asyncio.Future[Any]) -> None:
        try:
            async with self._plugin.open(self.instance.config, self._host) as resource:
                if not opened.done():
                    opened.set_result(resource)
                await self._leave.wait()
        except Exception as error:
            if opened.done():  # it was closing that failed: stop() reports it
                raise
            opened.set_exception(error)
            opened.exception()  # an abandoned start asks for it no more

    async def _abandon(self) -> None:
        if self._holder is not None:
            self._holder.cancel()
            await asyncio.wait({self._holder}, timeout=_CANCEL_GRACE)
            self._holder = None

    async def _check_and_prepare(self, deadline: float | None = None) -> None:
        await self.check()
        if not self._prepared and self._plugin.prepare is not None:
            budget = self._settings.startup_timeout if deadline is None else max(deadline - time.monotonic(), 0.001)
            async with asyncio.timeout(budget):
                await self._plugin.prepare(self.instance.resource)
            self._prepared = True
        self._set_ready()

    # OnStart

    def run(self) -> None:
        """Start what goes on in the background: the checks, and the plugin's own coroutine."""
        prefix = self._host.prefix
        self._background.append(asyncio.create_task(self._keep_checking(), name=f"toolkit check {prefix}"))
        if self._plugin.run is not None:
            task = asyncio.create_task(self._keep_running(self._plugin.run), name=f"toolkit run {prefix}")
            self._background.append(task)

    async def _keep_checking(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if self.instance.state is PluginState.DEGRADED:
                await asyncio.sleep(min(pause, self._settings.check_interval))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                await asyncio.sleep(self._settings.check_interval)
            try:
                await self._check_and_prepare()
            except Exception as error:  # noqa: BLE001 -- the boundary to a plugin: every failure becomes a state
                self._set_degraded(self._describe(error))

    async def _keep_running(self, run: Callable[[Any], Awaitable[object]]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await run(self.instance.resource)
                return
            except Exception as error:  # noqa: BLE001 -- supervised: reported and started again
                self._log.error(
                    events.PLUGIN_RUN_FAILED, cause=self._describe(error), retry_in_ms=int(pause * 1000), exc_info=True
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)

    # Checks

    async def check(self) -> None:
        """Check the plugin now, within ``CHECK_TIMEOUT``; simultaneous callers share one check."""
        if self._running_check is None:
            self._running_check = asyncio.create_task(self._check_once(), name=f"toolkit check {self._host.prefix}")
            self._running_check.add_done_callback(self._forget_check)
        await asyncio.shield(self._running_check)

    async def _check_once(self) -> None:
        try:
            async with asyncio.timeout(self._settings.check_timeout):
                await self._plugin.check(self.instance.resource)
        except TimeoutError as error:
            if str(error):
                raise
            raise TimeoutError(f"no answer within {self._settings.check_timeout:g} s") from error

    def _forget_check(self, task: asyncio.Task[None]) -> None:
        self._running_check = None
        if not task.cancelled():
            task.exception()  # every caller may have gone

    def _set_ready(self) -> None:
        was = self.instance.state
        self.instance.state = PluginState.READY
        self.instance.last_error = None
        if was is PluginState.DEGRADED:
            self._log.info(events.PLUGIN_RECOVERED, address=self.address)
        if was is not PluginState.READY:
            self._on_change()

    def _set_degraded(self, cause: str) -> None:
        was = self.instance.state
        self.instance.state = PluginState.DEGRADED
        self.instance.last_error = cause
        if was is not PluginState.DEGRADED:
            self._log.warning(
                events.PLUGIN_DEGRADED, address=self.address, cause=cause, critical=self.instance.critical
            )
            self._on_change()

    def _describe(self, error: BaseException) -> str:
        return describe_cause(error, self._secrets)

    # OnStop

    @property
    def is_open(self) -> bool:
        """Whether there is something to close."""
        return self._holder is not None and self._opened is not None and self._opened.done() and not self._failed_open

    @property
    def _failed_open(self) -> bool:
        return self._opened is not None and (self._opened.cancelled() or self._opened.exception() is not None)

    async def stop(self) -> str | None:
        """Close the plugin if it was opened; gives the cause when closing failed, and raises nothing."""
        tasks = [*self._background, *([self._running_check] if self._running_check else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_GRACE)
        self._background.clear()
        holder, self._holder = self._holder, None
        if holder is None:
            return None
        started = time.monotonic()
        self._leave.set()
        done, _ = await asyncio.wait({holder}, timeout=self._plugin.stop_timeout)
        cause: str | None = None
        if not done:
            cause = f"closing took longer than {self._plugin.stop_timeout:g} s"
            holder.cancel()
            await asyncio.wait({holder}, timeout=_CANCEL_GRACE)
        elif holder.cancelled():
            cause = "closing was cancelled"
        elif (error := holder.exception()) is not None:
            cause = self._describe(error)
        was_opened = not self._failed_open
        self.instance.state = PluginState.STOPPED
        if cause is not None:
            self._log.error(events.PLUGIN_STOP_FAILED, cause=cause)
        elif was_opened:
            self._log.info(events.PLUGIN_STOPPED, duration_ms=_ms_since(started))
        return cause


def _ms_since(start: float) -> float:
    return round((time.monotonic() - start) * 1000, 1)


def bind_log(prefix: str, plugin: Plugin[Any, Any]) -> structlog.typing.FilteringBoundLogger:
    """The logger of one instance."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(plugin=prefix, type=plugin.name)
    return logger
