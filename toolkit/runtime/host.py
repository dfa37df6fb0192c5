"""A plugin's window on the runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import structlog

from toolkit.manifest import Manifest

__all__ = ["HostRequests", "PluginHost"]


@attrs.define
class HostRequests:
    """What plugins asked of the runtime while they were opened, in the order in which they asked."""

    around: list[Callable[..., Awaitable[Any]]] = attrs.field(factory=list)
    mounts: list[tuple[str, Callable[..., Awaitable[None]]]] = attrs.field(factory=list)
    serving: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)
    draining: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)


class PluginHost:
    """The :class:`toolkit.plugins.Host` of one instance."""

    def __init__(
        self,
        prefix: str,
        log: structlog.typing.FilteringBoundLogger,
        manifest: Manifest,
        requests: HostRequests,
        bind: Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]],
    ) -> None:
        self._prefix = prefix
        self._log = log
        self._manifest = manifest
        self._requests = requests
        self._bind = bind

    @property
    def prefix(self) -> str:
        """The prefix under which the manifest declares this instance."""
        return self._prefix

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger bound to the prefix and the plugin's name."""
        return self._log

    @property
    def manifest(self) -> Manifest:
        """What the descriptor set declares."""
        return self._manifest

    def bind(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """Inject a callback as a handler is; it may be called once the service is serving."""
        return self._bind(function)

    def around_call(self, middleware: Callable[..., Awaitable[Any]]) -> None:
        """Run ``middleware(call, next)`` around every call of every served method."""
        self._requests.around.append(middleware)

    def mount(self, path: str, asgi: Callable[..., Awaitable[None]]) -> None:
        """Serve an ASGI application under ``path`` of the service's HTTP server."""
        self._requests.mounts.append((path, asgi))

    def on_serving(self, function: Callable[[], Awaitable[None]]) -> None:
        """Await ``function`` once the service takes calls."""
        self._requests.serving.append(function)

    def on_draining(self, function: Callable[[], Awaitable[None]]) -> None:
        """Await ``function`` when the service begins to stop, before any listener closes."""
        self._requests.draining.append(function)
