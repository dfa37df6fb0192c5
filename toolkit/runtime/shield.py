"""Run a coroutine to its end even when the task that waits for it is cancelled, and pay for that only if it waits."""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task, current_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Final

import attrs

__all__ = ["ENDED_WELL", "Outcome", "Shield"]

#: Workers kept for later; beyond these, a worker ends with its job.
_SPARE_WORKERS: Final = 64


@attrs.define(eq=False)
class Outcome:
    """How a shielded coroutine ended; its value, if any, is not kept."""

    #: What it raised; TimeoutError when it was not done in time.
    error: BaseException | None = None
    #: The caller's cancellation, held back until the coroutine had ended.
    cancelled: asyncio.CancelledError | None = None
    done: bool = False
    _waiter: asyncio.Future[None] | None = None
    _worker: _Worker | None = None

    def end(self) -> None:
        """Wake whoever waits for the end."""
        self.done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


_END: Final = object()

#: Of a coroutine that ended well without waiting for anything: most of them.
ENDED_WELL: Final = Outcome(done=True)


class Shield:
    """Runs coroutines that the caller's cancellation must not tear apart: a commit, a close.

    What a shield usually costs is a task for each call. Here the coroutine begins at once,
    in the place of an idle worker task (so that ``asyncio.timeout`` and the like inside it
    see a task that is theirs). Only one that has to wait for something is handed to that
    worker; one that ends without waiting cost no task and no turn of the event loop.
    """

    def __init__(self, timeout: float) -> None:
        #: How long a coroutine may take before it is cancelled, and again before it is given up, in seconds.
        self.timeout = timeout
        # Looked up once: on Python 3.11 every look-up is a system call.
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Worker] = []
        self._workers: set[asyncio.Task[None]] = set()

    async def run(self, coroutine: Coroutine[Any, Any, object]) -> Outcome:
        """Run ``coroutine`` to its end, bounded in time; never raises what it raised, nor CancelledError."""
        outcome = self.begin(coroutine)
        if not outcome.done:
            await self.wait(outcome)
        return outcome

    def begin(self, coroutine: Coroutine[Any, Any, object]) -> Outcome:
        """Run ``coroutine`` until it has to wait; an outcome that is not done then has to be waited for."""
        loop = self._loop
        worker = self._idle.pop() if self._idle else self._add_worker()
        caller: Any = current_task(loop)
        context = copy_context()
        steps = coroutine.__await__()
        # https://docs.python.org/3/library/asyncio-extending.html#task-lifetime-support
        _leave_task(loop, caller)
        _enter_task(loop, worker.task)
        try:
            # `next` with a default raises no StopIteration, which would cost as much as all the rest.
            awaited = context.run(next, steps, _END)
        except BaseException as error:  # noqa: BLE001 -- given to the caller in the outcome
            outcome = Outcome(error=error, done=True)
        else:
            if awaited is not _END:
                outcome = Outcome(worker=worker)
                worker.start(_Job(steps, context, awaited, outcome))
                return outcome
            outcome = ENDED_WELL
        finally:
            _leave_task(loop, worker.task)
            _enter_task(loop, caller)
        self._idle.append(worker)
        return outcome

    async def wait(self, outcome: Outcome) -> None:
        """Wait for the end of what was begun, however often the caller is cancelled meanwhile."""
        expired = False
        timer: asyncio.TimerHandle | None = None

        def expire() -> None:
            nonlocal expired, timer
            if outcome.done:  # the worker may have another job by now
                return
            if expired:  # cancelled, and still not done: nobody waits any longer
                outcome.end()
                return
            expired = True
            if outcome._worker is not None:
                outcome._worker.task.cancel()
            timer = self._loop.call_later(self.timeout, expire)

        timer = self._loop.call_later(self.timeout, expire)
        try:
            while not outcome.done:
                outcome._waiter = self._loop.create_future()
                try:
                    await outcome._waiter
                except asyncio.CancelledError as error:
                    outcome.cancelled = error
        finally:
            timer.cancel()
        if expired:
            late = TimeoutError(f"not done within {self.timeout:g} s")
            late.__cause__ = outcome.error
            outcome.error = late

    def _add_worker(self) -> _Worker:
        worker = _Worker(self._loop, self._take_back)
        worker.task = self._loop.create_task(worker.work(), name="toolkit-shield")
        self._workers.add(worker.task)
        worker.task.add_done_callback(self._workers.discard)
        worker.task.add_done_callback(worker.drop_job)
        return worker

    def _take_back(self, worker: _Worker) -> bool:
        if len(self._idle) >= _SPARE_WORKERS or worker.task.cancelling():
            return False
        self._idle.append(worker)
        return True

    async def close(self) -> None:
        """End the workers; one whose job was given up is cancelled once more."""
        self._idle.clear()
        for task in self._workers:
            task.cancel()
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=self.timeout)


@attrs.define(eq=False)
class _Job:
    #: The coroutine, begun.
    steps: Generator[Any, Any, object]
    context: Context
    #: What it waits for already.
    awaited: Any
    outcome: Outcome


class _Worker:
    """A task that is parked, or goes on with a coroutine that was begun in its name."""

    __slots__ = ("_job", "_loop", "_parked", "_take_back", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, take_back: Callable[[_Worker], bool]) -> None:
        self.task: asyncio.Task[None]
        self._loop = loop
        self._take_back = take_back
        self._job: _Job | None = None
        self._parked: asyncio.Future[None] | None = None

    def start(self, job: _Job) -> None:
        self._job = job
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)

    def drop_job(self, _task: asyncio.Task[None]) -> None:
        """End a job that was not taken up, for the task was cancelled before it ran at all."""
        if self._job is not None:
            job, self._job = self._job, None
            job.context.run(job.steps.close)
            job.outcome.error = asyncio.CancelledError()
            job.outcome.end()

    async def work(self) -> None:
        working = True
        while working:
            job, interrupt = await self._next_job()
            await _go_on(job, interrupt)
            working = self._take_back(self)

    async def _next_job(self) -> tuple[_Job, BaseException | None]:
        interrupt: BaseException | None = None
        if self._job is None:
            self._parked = self._loop.create_future()
            try:
                await self._parked
            except asyncio.CancelledError as error:
                interrupt = error
        job, self._job = self._job, None
        if job is None:  # cancelled while nothing was to be done
            raise asyncio.CancelledError
        return job, interrupt


@types.coroutine
def _go_on(job: _Job, interrupt: BaseException | None) -> Generator[Any, Any, None]:
    run, send, throw = job.context.run, job.steps.send, job.steps.throw
    awaited = job.awaited
    try:
        if interrupt is not None:
            awaited = run(throw, interrupt)
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 -- CancelledError among them: it is the coroutine's
                awaited = run(throw, error)
            else:
                awaited = run(send, sent)
    except StopIteration:
        pass
    except BaseException as error:  # noqa: BLE001 -- given to the caller in the outcome
        job.outcome.error = error
    finally:
        job.outcome.end()
