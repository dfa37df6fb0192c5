"""Whether the services of this process can be used: the state that every face's health check reads."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncGenerator, Iterable, Mapping

__all__ = ["Health", "ServingStatus"]

#: The name under which the process as a whole is asked for.
OVERALL = ""


class ServingStatus(enum.Enum):
    """What a health check answers."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    #: Nothing of that name is served here.
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"


class Health:
    """The status of each served service, and under ``""`` of the process as a whole.

    Everything starts as NOT_SERVING. All methods belong to the event loop's thread.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._statuses = dict.fromkeys((OVERALL, *services), ServingStatus.NOT_SERVING)
        self._draining = False
        self._changes: set[asyncio.Event] = set()

    def set(self, service: str, serving: bool) -> None:
        """Say whether ``service`` (a full name, or ``""``) can be used; nothing can once draining began.

        Raises:
            KeyError: nothing of that name is served here.
        """
        if service not in self._statuses:
            raise KeyError(f"{service!r} is not served here (served: {', '.join(filter(None, self._statuses))})")
        status = ServingStatus.SERVING if serving and not self._draining else ServingStatus.NOT_SERVING
        if self._statuses[service] is not status:
            self._statuses[service] = status
            self._announce()

    def set_all(self, serving: bool) -> None:
        """Say the same of every service and of the process as a whole."""
        for service in self._statuses:
            self.set(service, serving)

    def drain(self) -> None:
        """Everything is NOT_SERVING from now on, whatever is said later: the process is about to stop."""
        self._draining = True
        self.set_all(False)

    def status(self, service: str) -> ServingStatus:
        """The status of this service; SERVICE_UNKNOWN where nothing of that name is served."""
        return self._statuses.get(service, ServingStatus.SERVICE_UNKNOWN)

    def statuses(self) -> Mapping[str, ServingStatus]:
        """The status of everything by full name, the process as a whole under ``""``."""
        return dict(self._statuses)

    async def watch(self, service: str) -> AsyncGenerator[ServingStatus, None]:
        """The status now and after every change; a reader that is slow misses what is outdated. Never ends."""
        changed = asyncio.Event()
        self._changes.add(changed)
        try:
            seen: ServingStatus | None = None
            while True:
                changed.clear()
                status = self.status(service)
                if status is not seen:
                    seen = status
                    yield status
                else:
                    await changed.wait()
        finally:
            self._changes.discard(changed)

    def _announce(self) -> None:
        for changed in self._changes:
            changed.set()
