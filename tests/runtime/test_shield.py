"""A shielded coroutine runs to its end in a task of its own, and costs a task only if it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from toolkit.runtime.shield import Shield

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


@pytest.fixture
async def shield() -> AsyncIterator[Shield]:
    """A shield that is closed, and has left no task, when the test ends."""
    made = Shield(5)
    yield made
    await made.close()
    assert "toolkit-shield" not in [task.get_name() for task in asyncio.all_tasks()]


async def yields() -> None:
    await asyncio.sleep(0)


async def immediate() -> None:
    return None


WAITS = [immediate, yields]


async def test_a_coroutine_that_never_waits_is_done_at_once(shield: Shield) -> None:
    """Without waiting for anything, the coroutine has ended when `begin` returns."""
    outcome = shield.begin(immediate())
    assert outcome.done
    assert outcome.error is None


@pytest.mark.parametrize("wait", WAITS)
async def test_errors_are_in_the_outcome(shield: Shield, wait: Callable[[], Awaitable[None]]) -> None:
    """What the coroutine raised is given to the caller and not raised."""
    error = OSError("no")

    async def fail() -> None:
        await wait()
        raise error

    assert (await shield.run(fail())).error is error


@pytest.mark.parametrize("wait", WAITS)
async def test_the_coroutine_has_one_task_that_is_not_the_callers(
    shield: Shield, wait: Callable[[], Awaitable[None]]
) -> None:
    """From its first to its last step the coroutine sees the same current task; the caller's is untouched."""
    tasks: list[Any] = []

    async def look() -> None:
        tasks.append(asyncio.current_task())
        await wait()
        tasks.append(asyncio.current_task())

    own = asyncio.current_task()
    await shield.run(look())
    assert asyncio.current_task() is own
    assert tasks[0] is tasks[1] is not own


@pytest.mark.parametrize("wait", WAITS)
async def test_the_coroutine_has_a_copy_of_the_callers_context(
    shield: Shield, wait: Callable[[], Awaitable[None]]
) -> None:
    """Context variables are the caller's, may be set and reset across waiting, and do not leak back."""
    seen: list[str] = []

    async def change() -> None:
        seen.append(VARIABLE.get())
        token = VARIABLE.set("inner")
        await wait()
        seen.append(VARIABLE.get())
        VARIABLE.reset(token)
        VARIABLE.set("left behind")

    VARIABLE.set("outer")
    await shield.run(change())
    assert seen == ["outer", "inner"]
    assert VARIABLE.get() == "outer"


async def test_time_limits_inside_hold_for_the_coroutine_alone(shield: Shield) -> None:
    """`asyncio.timeout` and task groups in the coroutine work, and never cancel the caller."""
    own = asyncio.current_task()
    assert own is not None

    async def limited() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(yields())

    outcome = await shield.run(limited())
    assert outcome.error is None
    assert outcome.cancelled is None
    assert own.cancelling() == 0


async def test_a_cancelled_caller_waits_for_the_end(shield: Shield) -> None:
    """The caller's cancellations are held back until the coroutine has ended, and are then in the outcome."""
    gate, ended, outcomes = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        ended.set()

    async def call() -> None:
        outcomes.append(await shield.run(work()))

    task = asyncio.create_task(call())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await asyncio.wait({task}, timeout=5)
    assert ended.is_set()
    assert outcomes[0].error is None
    assert isinstance(outcomes[0].cancelled, asyncio.CancelledError)


async def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    """After the timeout the coroutine is cancelled, its `finally` runs, and the outcome is a TimeoutError."""
    shield, cleaned = Shield(0.02), asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await yields()
            cleaned.set()

    outcome = await shield.run(hang())
    assert repr(outcome.error) == "TimeoutError('not done within 0.02 s')"
    assert outcome.error is not None
    assert isinstance(outcome.error.__cause__, asyncio.CancelledError)
    assert cleaned.is_set()
    await shield.close()


async def test_a_coroutine_that_ignores_its_cancellation_is_given_up() -> None:
    """Nobody waits for ever for a coroutine that does not end; closing the shield cancels it once more."""
    shield = Shield(0.02)
    cancelled: list[bool] = []

    async def stubborn() -> None:
        while len(cancelled) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)

    outcome = await shield.run(stubborn())
    assert isinstance(outcome.error, TimeoutError)
    assert len(cancelled) == 1
    await shield.close()
    assert len(cancelled) == 2


@pytest.mark.parametrize("used_before", [False, True], ids=["a new worker", "a parked worker"])
async def test_a_worker_that_is_cancelled_as_it_is_woken(shield: Shield, used_before: bool) -> None:
    """A cancellation between the first step and the second ends the coroutine, and nobody waits in vain."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    if used_before:
        await shield.run(yields())
        await asyncio.sleep(0)
    outcome = shield.begin(work())
    assert outcome._worker is not None
    outcome._worker.task.cancel()
    await shield.wait(outcome)
    assert isinstance(outcome.error, asyncio.CancelledError)
    assert ended == [True]


async def test_no_timer_is_left(shield: Shield, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounded a coroutine in time is cancelled when that has ended."""
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def note(*arguments: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*arguments))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", note)
    await shield.run(yields())
    assert [timer.cancelled() for timer in timers] == [True]


async def test_many_at_once_and_one_after_another(shield: Shield) -> None:
    """A thousand coroutines that wait at once end each with its own outcome, and workers are used again."""
    before = len(asyncio.all_tasks())

    async def work(number: int) -> None:
        for _ in range(number % 5):
            await asyncio.sleep(0)
        if number % 3 == 0:
            raise ValueError(number)

    outcomes = await asyncio.gather(*(shield.run(work(number)) for number in range(1000)))
    assert [outcome.error.args[0] for outcome in outcomes if outcome.error is not None] == list(range(0, 1000, 3))
    workers = len(asyncio.all_tasks()) - before
    assert 0 < workers <= 64
    assert len(shield._workers) == workers
    for number in range(100):
        await shield.run(work(number))
    assert len(asyncio.all_tasks()) - before == workers
