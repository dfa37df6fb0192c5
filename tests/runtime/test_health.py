"""The health state that every face's health check reads."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from toolkit.runtime.health import Health, ServingStatus

SERVING, NOT_SERVING, UNKNOWN = ServingStatus.SERVING, ServingStatus.NOT_SERVING, ServingStatus.SERVICE_UNKNOWN


def test_nothing_serves_before_it_was_said() -> None:
    """Every service and the process as a whole begin as NOT_SERVING."""
    health = Health(["a.A", "a.B"])
    assert health.statuses() == {"": NOT_SERVING, "a.A": NOT_SERVING, "a.B": NOT_SERVING}


def test_each_service_has_its_own_status() -> None:
    """A service's status is its own; of a name that is not served the status is SERVICE_UNKNOWN."""
    health = Health(["a.A", "a.B"])
    health.set("a.A", serving=True)
    assert [health.status(name) for name in ("a.A", "a.B", "", "a.C")] == [SERVING, NOT_SERVING, NOT_SERVING, UNKNOWN]


def test_all_at_once() -> None:
    """All statuses can be set at once, there and back."""
    health = Health(["a.A"])
    health.set_all(serving=True)
    assert health.statuses() == {"": SERVING, "a.A": SERVING}
    health.set_all(serving=False)
    assert health.statuses() == {"": NOT_SERVING, "a.A": NOT_SERVING}


def test_unknown_service_is_refused() -> None:
    """A status can be set for what is served only."""
    with pytest.raises(KeyError) as caught:
        Health(["a.A", "a.B"]).set("a.C", serving=True)
    assert caught.value.args == ("'a.C' is not served here (served: a.A, a.B)",)


def test_draining_is_for_good() -> None:
    """Once draining began nothing serves again, whatever heals meanwhile."""
    health = Health(["a.A"])
    health.set_all(serving=True)
    health.drain()
    health.set("a.A", serving=True)
    health.set_all(serving=True)
    assert health.statuses() == {"": NOT_SERVING, "a.A": NOT_SERVING}


async def test_watch_gives_the_status_and_its_changes() -> None:
    """A watch begins with the status as it is and gives each later one, not those of others."""
    health = Health(["a.A", "a.B"])
    async with aclosing(health.watch("a.A")) as statuses:
        assert await anext(statuses) is NOT_SERVING
        following = asyncio.ensure_future(anext(statuses))
        await asyncio.sleep(0)
        health.set("a.B", serving=True)
        health.set("a.A", serving=False)
        await asyncio.sleep(0)
        assert not following.done()
        health.set("a.A", serving=True)
        assert await following is SERVING


async def test_slow_watcher_misses_what_is_outdated() -> None:
    """A watcher that is slow is given the latest status, once."""
    health = Health(["a.A"])
    async with aclosing(health.watch("a.A")) as statuses:
        assert await anext(statuses) is NOT_SERVING
        for serving in (True, False, True):
            health.set("a.A", serving=serving)
        assert await anext(statuses) is SERVING
        following = asyncio.ensure_future(anext(statuses))
        await asyncio.sleep(0)
        assert not following.done()
        following.cancel()
        await asyncio.wait({following})


async def test_watch_of_an_unknown_service() -> None:
    """A watch of what is not served says so and stays."""
    health = Health(["a.A"])
    async with aclosing(health.watch("a.C")) as statuses:
        assert await anext(statuses) is UNKNOWN
