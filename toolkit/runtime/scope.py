"""What belongs to one call: its views, its components, and how they are committed and closed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import structlog

from toolkit.plugins import PerCall
from toolkit.runtime.shield import ENDED_WELL, Outcome, Shield

__all__ = ["CallScope", "OpenedView", "raise_outcome"]

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


#: A call-scoped view that a call has opened: the plugin's prefix, how the view is committed and closed, and the view.
OpenedView = tuple[str, PerCall[Any, Any], Any]


class CallScope:
    """The call-scoped objects of one call, each made once."""

    __slots__ = ("entered", "outcome", "streams", "values", "views")

    def __init__(self) -> None:
        #: By what made it, of which there is one for each (prefix, view) and for each component.
        self.values: dict[Any, Any] = {}
        self.views: list[OpenedView] = []
        #: Components that were entered with ``__aenter__``, in order.
        self.entered: list[Any] | None = None
        #: Streams of replies that dispatch itself has opened, innermost first.
        self.streams: list[AsyncIterator[Any]] | None = None
        #: The reply message and what it was serialised to, once that is done.
        self.outcome: tuple[Any, Any] | None = None

    def enter(self, instance: Any) -> None:
        """Note a component to be left."""
        if self.entered is None:
            self.entered = []
        self.entered.append(instance)

    def follow(self, *streams: AsyncIterator[Any]) -> None:
        """Note streams to be closed when the call ends, the innermost first."""
        if self.streams is None:
            self.streams = []
        self.streams.extend(streams)

    async def close_streams(self) -> None:
        """Close the streams, the outermost first, so that each finds those inside of it still open."""
        while self.streams:
            close = getattr(self.streams.pop(), "aclose", None)
            if close is not None:
                await close()

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
        outcome = self.begin_commit(shield, after)
        if outcome is not None:
            if not outcome.done:
                await shield.wait(outcome)
            raise_outcome(outcome)

    def begin_commit(self, shield: Shield, after: Sequence[AfterCommit] | None) -> Outcome | None:
        """Begin to commit: None when it is all done already, and well."""
        # Written out: this is on the way of every call that has a view.
        views = []
        for opened in self.views:
            if opened[1].in_use(opened[2]):
                views.append(opened)  # noqa: PERF401 -- a comprehension is a function call more
        self.views = []
        if not views and not after:
            return None
        outcome = shield.begin(_commit(views, after))
        return None if outcome is ENDED_WELL else outcome

    async def roll_back(self, shield: Shield, error: BaseException) -> None:
        """Leave the components and close the views without committing them; raises nothing but a cancellation."""
        views = self._views_in_use()
        if not views and not self.entered:
            return
        outcome = await shield.run(self._undo(views, error))
        if outcome.error is not None:
            _log.error(VIEW_CLOSE_FAILED, exc_info=outcome.error)
        if outcome.cancelled is not None:
            raise outcome.cancelled from error

    def _views_in_use(self) -> list[OpenedView]:
        """The views with which something was done; they leave the scope."""
        views, self.views = self.views, []
        return [opened for opened in views if opened[1].in_use(opened[2])]

    async def _undo(self, views: Sequence[OpenedView], error: BaseException) -> None:
        await self.leave(error)
        for opened in reversed(views):
            try:
                await opened[1].close(opened[2])
            except Exception as failure:  # noqa: BLE001 -- one that does not close must not keep the others open
                _log_unclosed(opened, failure)


def raise_outcome(outcome: Outcome) -> None:
    """Raise how a commit ended, if it did not end well.

    Raises:
        BaseException: what the commit raised, or the call's cancellation.
    """
    if outcome.cancelled is not None:
        if outcome.error is not None:
            _log.error(COMMIT_LOST, exc_info=outcome.error)
        raise outcome.cancelled
    if outcome.error is not None:
        raise outcome.error


async def _commit(views: Sequence[OpenedView], after: Sequence[AfterCommit] | None) -> None:
    try:
        for _, view, value in views:
            await view.commit(value)
    finally:
        for opened in reversed(views):
            try:
                await opened[1].close(opened[2])
            except Exception as error:  # noqa: BLE001 -- one that does not close must not keep the others open
                _log_unclosed(opened, error)
    for function in after or ():
        try:
            result = function()
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 -- the work is done: the event says what was left out
            name = getattr(function, "__qualname__", repr(function))
            _log.error(AFTER_COMMIT_FAILED, function=name, exc_info=error)


def _log_unclosed(opened: OpenedView, error: Exception) -> None:
    prefix, _, value = opened
    _log.error(VIEW_CLOSE_FAILED, prefix=prefix, view=type(value).__name__, exc_info=error)
