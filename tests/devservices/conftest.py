"""What the tests of development servers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psutil
import pytest

Alive = Callable[[Iterable[psutil.Process]], list[psutil.Process]]


@pytest.fixture
def alive() -> Alive:
    """Picks those of some processes that have not ended; a zombie has."""
    return lambda processes: [process for process in processes if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
