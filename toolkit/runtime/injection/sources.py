"""Where an injected value comes from, decided once for each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from toolkit.plugins import PerCall
from toolkit.runtime.injection.signature import Signature

__all__ = [
    "ClientSource",
    "Component",
    "ComponentSource",
    "Injection",
    "LoggerSource",
    "Need",
    "RuntimeSource",
    "SettingsSource",
    "Source",
    "ViewSource",
]


@attrs.frozen(kw_only=True, eq=False)
class ViewSource:
    """A view of the plugin under ``prefix``."""

    prefix: str
    #: The key in the plugin's ``provides``.
    type: Any
    view: Callable[[Any], Any] | PerCall[Any, Any]
    #: None is injected while the plugin is not critical and degraded.
    optional: bool

    @property
    def per_call(self) -> bool:
        """Whether the view belongs to one call."""
        return isinstance(self.view, PerCall)


@attrs.frozen(kw_only=True, eq=False)
class ComponentSource:
    """An instance of a component."""

    component: Component


@attrs.frozen(kw_only=True, eq=False)
class SettingsSource:
    """The instance of a settings class."""

    type: type


@attrs.frozen(kw_only=True, eq=False)
class RuntimeSource:
    """Something of the runtime's own: the App, the Registry, the Manifest."""

    type: Any


@attrs.frozen(eq=False)
class LoggerSource:
    """A logger, bound to whoever asks for it."""


@attrs.frozen(kw_only=True, eq=False)
class ClientSource:
    """The client of a declared service."""

    name: str


Source = ViewSource | ComponentSource | SettingsSource | RuntimeSource | LoggerSource | ClientSource


@attrs.frozen(kw_only=True, eq=False)
class Need:
    """A view that a function needs, and how it comes to need it."""

    #: The function's own parameter.
    parameter: str
    source: ViewSource
    #: The components between the parameter and the view.
    way: tuple[str, ...] = ()

    @property
    def through(self) -> str:
        """``, which UserRepository takes,``, for reports; empty for a parameter of the function's own."""
        return f", which {' → '.join(self.way)} takes," if self.way else ""


@attrs.frozen(kw_only=True, eq=False)
class Injection:
    """What a function or a constructor is given: parameter name to source."""

    signature: Signature
    sources: Mapping[str, Source]

    def needs(self) -> Iterator[Need]:
        """Every view that is needed, directly or through components."""
        for name, source in self.sources.items():
            if isinstance(source, ViewSource):
                yield Need(parameter=name, source=source)
            elif isinstance(source, ComponentSource):
                way = source.component.signature.name
                for need in source.component.injection.needs():
                    yield Need(parameter=name, source=need.source, way=(way, *need.way))

    def components(self) -> Iterator[Component]:
        """The components that are needed directly."""
        for source in self.sources.values():
            if isinstance(source, ComponentSource):
                yield source.component

    @property
    def varies(self) -> bool:
        """Whether what is given may change from call to call."""
        return any(
            source.per_call or source.optional
            if isinstance(source, ViewSource)
            else isinstance(source, ComponentSource) and source.component.per_call
            for source in self.sources.values()
        )


@attrs.frozen(kw_only=True, eq=False)
class Component:
    """A class that is built by injection: marked with ``@component``, or the implementation of a service."""

    cls: type
    injection: Injection

    @property
    def signature(self) -> Signature:
        """The constructor's."""
        return self.injection.signature

    @property
    def per_call(self) -> bool:
        """Whether every call has an instance of its own, since something that it takes belongs to a call."""
        return self.injection.varies
