"""The opened plugins of a running service."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, get_origin

from toolkit.errors import UnavailableError
from toolkit.plugins import PerCall, Plugin

__all__ = ["Instance", "PluginState", "Registry", "find_view"]

T = TypeVar("T")


class PluginState(enum.Enum):
    """Where an instance is in its life."""

    STARTING = "starting"
    READY = "ready"
    #: Its last check did not pass; it is being retried.
    DEGRADED = "degraded"
    STOPPED = "stopped"


def find_view(plugin: Plugin[Any, Any], wanted: Any) -> Callable[[Any], Any] | PerCall[Any, Any] | None:
    """The view that ``plugin`` provides for an annotation (``async_sessionmaker[AsyncSession]`` included)."""
    provides: Any = plugin.provides
    view: Callable[[Any], Any] | PerCall[Any, Any] | None = provides.get(get_origin(wanted) or wanted)
    return view


class Instance:
    """One plugin of the manifest, opened; the lifecycle alone changes its state."""

    __slots__ = ("_check", "config", "critical", "last_error", "plugin", "prefix", "resource", "state")

    def __init__(
        self,
        prefix: str,
        plugin: Plugin[Any, Any],
        *,
        config: Any,
        critical: bool,
        resource: Any,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.prefix = prefix
        self.plugin = plugin
        self.config = config
        #: Whether the service may run without it.
        self.critical = critical
        self.resource = resource
        self.state = PluginState.STARTING
        #: Why the last check did not pass, in a sentence without secrets; None while READY.
        self.last_error: str | None = None
        self._check = check

    @property
    def type(self) -> str:
        """The plugin's canonical type name."""
        return self.plugin.name

    @property
    def available(self) -> bool:
        """Whether the last check passed."""
        return self.state is PluginState.READY

    async def check(self) -> None:
        """Check it now, bounded by ``CHECK_TIMEOUT``; callers at the same time share one check.

        Raises:
            Exception: whatever the plugin's own check found.
        """
        if self._check is None:
            await self.plugin.check(self.resource)
        else:
            await self._check()


class Registry:
    """The opened plugins by prefix: ``registry.get("pgsql", AsyncEngine)``; iterating gives instances."""

    def __init__(self, instances: dict[str, Instance] | None = None) -> None:
        self._instances = instances if instances is not None else {}

    def __iter__(self) -> Iterator[Instance]:
        return iter(tuple(self._instances.values()))

    def __len__(self) -> int:
        return len(self._instances)

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._instances

    def __getitem__(self, prefix: str) -> Instance:
        try:
            return self._instances[prefix]
        except KeyError:
            declared = ", ".join(self._instances) or "none"
            raise KeyError(f"no plugin is declared under the prefix {prefix!r} (declared: {declared})") from None

    def get(self, prefix: str, wanted: type[T]) -> T:
        """The view of this type of the plugin under ``prefix``.

        Raises:
            KeyError: nothing is declared under the prefix.
            TypeError: the plugin does not provide the type, or only for a call.
            UnavailableError: the plugin is not critical and its last check did not pass.
        """
        instance = self[prefix]
        view = find_view(instance.plugin, wanted)
        if view is None or isinstance(view, PerCall):
            reason = "provides it only as a handler's parameter, for one call" if view else "does not provide it"
            raise TypeError(f"{wanted!r} of {prefix!r}: {instance.type} {reason}")
        if not instance.critical and instance.state is PluginState.DEGRADED:
            raise UnavailableError(prefix, instance.type)
        result: T = view(instance.resource)
        return result
