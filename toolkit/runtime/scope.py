"""What belongs to one call: its views, its components, and how they are committed and closed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import attrs
import structlog

from toolkit.plugins import PerCall
from toolkit.runtime.shield import Shield

__all__ = ["CallScope", "OpenedView"]

#: A view could not be closed after its call; the call's outcome stands: ``prefix``, ``view``.
VIEW_CLOSE_FAILED: Final = "toolkit.view_close_failed"
#: A component's ``__aexit__`` raised after its call had failed; the call's own error stands.
COMPONENT_LEAVE_FAILED: Final = "toolkit.component_leave_failed"
#: A function given to ``after_commit`` raised; the call's outcome stands: ``function``.
AFTER_COMMIT_FAILED: Final = "toolkit.after_commit_failed"
#: A commit failed, and nobody could be told, for the call had been cancelled meanwhile.
COMMIT_LOST: Final = "toolkit.commit_lost"

_log = structlog.get_logger("toolkit.call")

AfterCommit = Callable[[], Any]


@attrs.frozen
class OpenedView:
    """A call-scoped view that a call has opened."""

    prefix: str
    view: PerCall[Any, Any]
    value: Any


class CallScope:
    """The call-scoped objects of one call, each made once."""

    __slots__ = ("entered", "outcome", "streams", "values", "views")

    def __init__(self) -> None:
        #: By (prefix, view type) or component; nothing is in it twice.
        self.values: dict[Any, Any] = {}
        self.views: list[OpenedView] = []
        #: Components that were entered with ``__aenter__``, in order.
        self.entered: list[Any] = []
        #: Streams of replies that dispatch itself has opened, innermost first.
        self.streams: list[AsyncIterator[Any]] = []
        #: The reply message and what it was serialised to, once that is done.
        self.outcome: tuple[Any, Any] | None = None

    async def leave(self, error: BaseException | None) -> None:
        """Leave the components of the call, in reverse; the first of their errors is raised when all are left."""
        first: BaseException | None = None
        while self.entered:
            instance = self.entered.pop()
            given = error if error is not None else first
            try:
                await instance.__aexit__(type(given) if given else None, given, given.__traceback__ if given else None)
            except BaseException as raised:  # noqa: BLE001 -- raised again when all are left
                first = first or raised
        if first is not None:
            if error is None:
                raise first
            _log.error(COMPONENT_LEAVE_FAILED, exc_info=first)

    async def commit(self, shield: Shield, after: Sequence[AfterCommit] | None) -> None:
        """Commit the views in the order of their opening, close them, and run what waits for the commit.

        Raises:
            BaseException: what a commit raised; every view has been closed by then.
        """
        views = [opened for opened in self.views if opened.view.in_use(opened.value)]
        self.views = []
        if not views and not after:
            return
        outcome = await shield.run(_commit(views, after or ()))
        if outcome.cancelled is not None:
            if outcome.error is not None:
                _log.error(COMMIT_LOST, exc_info=outcome.error)
            raise outcome.cancelled
        if outcome.error is not None:
            raise outcome.error

    async def roll_back(self, shield: Shield, error: BaseException) -> None:
        """Leave the components and close the views without committing them; raises nothing but a cancellation."""
        views = [opened for opened in self.views if opened.view.in_use(opened.value)]
        self.views = []
        if not views and not self.entered:
            return
        outcome = await shield.run(self._undo(views, error))
        if outcome.error is not None:
            _log.error(VIEW_CLOSE_FAILED, exc_info=outcome.error)
        if outcome.cancelled is not None:
            raise outcome.cancelled from error

    async def _undo(self, views: Sequence[OpenedView], error: BaseException) -> None:
        await self.leave(error)
        await _close(views)


async def _commit(views: Sequence[OpenedView], after: Sequence[AfterCommit]) -> None:
    try:
        for opened in views:
            await opened.view.commit(opened.value)
    finally:
        await _close(views)
    for function in after:
        try:
            result = function()
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 -- the work is done: the event says what was left out
            name = getattr(function, "__qualname__", repr(function))
            _log.error(AFTER_COMMIT_FAILED, function=name, exc_info=error)


async def _close(views: Sequence[OpenedView]) -> None:
    for opened in reversed(views):
        try:
            await opened.view.close(opened.value)
        except Exception as error:  # noqa: BLE001 -- one that does not close must not keep the others open
            _log.error(VIEW_CLOSE_FAILED, prefix=opened.prefix, view=type(opened.value).__name__, exc_info=error)
