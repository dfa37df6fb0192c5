"""The plugin contract: one value describes a plugin; there is no base class and no half-open object.

A plugin's module imports this package and the plugin's own library, nothing else of
toolkit, and is itself imported only when a manifest names one of its entry points.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar

import attrs
import structlog

from toolkit.manifest import Manifest

__all__ = ["DevNeed", "DevServer", "Host", "PerCall", "Plugin"]

ConfigT = TypeVar("ConfigT")
ResourceT = TypeVar("ResourceT")
ViewT = TypeVar("ViewT")


class Host(Protocol):
    """A plugin's window on the runtime, and all of it."""

    @property
    def prefix(self) -> str:
        """The prefix under which the manifest declares this instance."""

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger bound to the prefix and the plugin's name."""

    @property
    def manifest(self) -> Manifest:
        """What the descriptor set declares."""

    def bind(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """Inject a callback as a handler is: keyword-only parameters are filled for every call.

        Raises:
            BindingError: a parameter cannot be resolved.
        """

    def around_call(self, middleware: Callable[..., Awaitable[Any]]) -> None:
        """Run ``middleware(call, next)`` around every call of every served method."""

    def mount(self, path: str, asgi: Callable[..., Awaitable[None]]) -> None:
        """Serve an ASGI application under ``path`` of the service's HTTP server."""

    def on_serving(self, function: Callable[[], Awaitable[None]]) -> None:
        """Await ``function`` once the service takes calls (to register it somewhere)."""

    def on_draining(self, function: Callable[[], Awaitable[None]]) -> None:
        """Await ``function`` when the service begins to stop, before any listener closes."""


@attrs.frozen(kw_only=True)
class PerCall(Generic[ResourceT, ViewT]):
    """A view that belongs to one call: opened for it, committed when it ends well, always closed.

    Within one call a (prefix, view) is one object. ``commit`` runs after the reply was
    serialised and before it is sent, shielded from cancellation and bounded in time; if
    it fails, that is the call's error. ``close`` always runs, rolls back whatever was not
    committed, and may be called right after ``commit``.
    """

    open: Callable[[ResourceT], ViewT | Awaitable[ViewT]]
    commit: Callable[[ViewT], Awaitable[object]]
    close: Callable[[ViewT], Awaitable[object]]
    #: False when nothing was done with the view, so that commit and close may be left out.
    in_use: Callable[[ViewT], bool] = lambda _view: True
    #: Other views of the same prefix that may not be used in one call beside this one.
    conflicts: frozenset[type] = frozenset()


@attrs.frozen(kw_only=True)
class DevServer:
    """Where a development server listens, as handed to :attr:`DevNeed.settings`."""

    host: str
    port: int
    #: A database of its own for each prefix (for Redis: its number).
    database: str = ""
    username: str = ""
    password: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class DevNeed:
    """What ``--dev`` and the test kit start for a plugin that has no address in the environment."""

    #: The kind of server, e.g. ``postgres`` or ``redis``; the names are those of ``toolkit.devservices``.
    server: str
    #: A plugin for which one of these settings is given already has its server.
    addressed_by: tuple[str, ...]
    #: The settings (name to text) that lead to the started server.
    settings: Callable[[DevServer], Mapping[str, str]]


@attrs.frozen(kw_only=True)
class Plugin(Generic[ConfigT, ResourceT]):
    """A plugin: how it is configured, opened, checked, run, closed, and what it gives to handlers.

    The entry-point group ``toolkit.plugins`` maps each type name that a manifest may
    write to a value of this class.
    """

    #: The canonical type name, e.g. ``postgres_gorm``.
    name: str
    #: An attrs class whose fields were made with :func:`toolkit.plugins.setting`.
    config: type[ConfigT]
    #: An async context manager that yields the resource; leaving it is OnStop. Entering
    #: it must not need the network: connectivity is proved by ``check``.
    open: Callable[[ConfigT, Host], AbstractAsyncContextManager[ResourceT]]
    #: Raises unless the resource can be used right now. The runtime bounds it in time and
    #: never runs it twice at once.
    check: Callable[[ResourceT], Awaitable[object]]
    #: Type to view. A plain function of the resource is a view that lives as long as the
    #: plugin; a :class:`PerCall` belongs to one call.
    provides: Mapping[type, Callable[[ResourceT], Any] | PerCall[ResourceT, Any]]
    #: Once, after the first check that passes and before any call: migrations.
    prepare: Callable[[ResourceT], Awaitable[object]] | None = None
    #: A background coroutine (OnStart), supervised while the service runs, cancelled at its stop.
    run: Callable[[ResourceT], Awaitable[object]] | None = None
    #: Whether a check that does not pass fails the start, when neither manifest nor environment says.
    critical: bool = True
    #: Sees several settings together: fills in what one implies for another (a DSN's host),
    #: and raises SettingError for a contradiction. ``given`` are the names of the settings
    #: that the environment or the manifest set; the rest are class defaults.
    resolve: Callable[[ConfigT, frozenset[str]], ConfigT] | None = None
    #: ``host:port`` for reports and logs; never a secret.
    address: Callable[[ConfigT], str] = lambda _config: ""
    dev: DevNeed | None = None
    #: How long leaving ``open`` may take, in seconds.
    stop_timeout: float = 5.0
