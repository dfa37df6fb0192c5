"""Start the plugins in dependency order, stop in exactly the reverse only what was started."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from toolkit.errors import Problem
from toolkit.manifest import PluginDeclaration
from toolkit.runtime.supervisor import PluginFailedError, Supervisor

__all__ = ["Phase", "PluginLifecycle", "run_bounded"]


class Phase(enum.StrEnum):
    """The names of the lifecycle's phases, in their order."""

    INITIALIZATION = "Initialization"
    PRE_START = "PreStart"
    ON_START = "OnStart"
    RUNNING = "Running"
    ON_STOP = "OnStop"
    STOPPED = "Stopped"


@attrs.frozen(kw_only=True)
class _Failure:
    prefix: str
    cause: str


class PluginLifecycle:
    """All plugins of one service: independent ones start at the same time."""

    def __init__(
        self,
        supervisors: Mapping[str, Supervisor],
        declarations: Sequence[PluginDeclaration],
        *,
        explain: Callable[[Supervisor, PluginDeclaration, str], Problem],
    ) -> None:
        self._supervisors = supervisors
        self._declarations = {item.prefix: item for item in declarations if item.prefix in supervisors}
        self._explain = explain
        #: Prefixes in the order in which they were started; stopping goes backwards.
        self._started: list[str] = []

    async def start(self) -> tuple[Problem, ...]:
        """Start every plugin whose needs have started; gives one problem for each that failed."""
        pending = {
            prefix: {need for need in item.needs if need in self._declarations}
            for prefix, item in self._declarations.items()
        }
        running: dict[asyncio.Task[None], str] = {}
        failures: list[_Failure] = []
        done_prefixes: set[str] = set()
        try:
            while True:
                for prefix in [prefix for prefix, needs in pending.items() if needs <= done_prefixes]:
                    del pending[prefix]
                    task = asyncio.create_task(self._start_one(prefix), name=f"toolkit start {prefix}")
                    running[task] = prefix
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    prefix = running.pop(task)
                    error = task.exception()
                    if error is None:
                        done_prefixes.add(prefix)
                    elif isinstance(error, PluginFailedError):
                        failures.append(_Failure(prefix=prefix, cause=str(error)))
                    else:
                        raise error
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)
        return tuple(
            self._explain(self._supervisors[item.prefix], self._declarations[item.prefix], item.cause)
            for item in failures
        )

    async def _start_one(self, prefix: str) -> None:
        supervisor = self._supervisors[prefix]
        try:
            await supervisor.start()
        finally:
            if supervisor.is_open:
                self._started.append(prefix)

    def run(self) -> None:
        """Start the background work of every plugin, in the order in which they were started."""
        for prefix in self._started:
            self._supervisors[prefix].run()

    async def stop(self) -> tuple[str, ...]:
        """Close what was started, in reverse; every error is collected and ends nothing."""
        causes: list[str] = []
        while self._started:
            prefix = self._started.pop()
            cause = await self._supervisors[prefix].stop()
            if cause is not None:
                causes.append(f"{prefix}: {cause}")
        return tuple(causes)


async def run_bounded(function: Callable[[], Awaitable[object]], *, timeout: float) -> None:
    """Await ``function()`` for at most ``timeout`` seconds.

    Raises:
        TimeoutError: with a text that says how long it had.
    """
    try:
        async with asyncio.timeout(timeout) as deadline:
            await function()
    except TimeoutError:
        if deadline.expired():
            raise TimeoutError(f"did not end within {timeout:g} s") from None
        raise
