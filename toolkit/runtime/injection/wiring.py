"""Sources to values: singletons are looked up or built once, what belongs to a call is made by a plan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CoroutineType
from typing import Any, Final

import attrs
import structlog

from toolkit.errors import Problem, StartupError, UnavailableError
from toolkit.plugins import PerCall
from toolkit.runtime.injection.sources import (
    ClientSource,
    Component,
    ComponentSource,
    Injection,
    RuntimeSource,
    SettingsSource,
    Source,
    ViewSource,
)
from toolkit.runtime.registry import Instance, PluginState, Registry
from toolkit.runtime.scope import CallScope
from toolkit.runtime.shield import Shield

__all__ = ["Arguments", "Wiring", "obtain"]

#: A component's ``__aexit__`` raised while the service stopped; the others were left all the same.
COMPONENT_STOP_FAILED: Final = "toolkit.component_stop_failed"

_log = structlog.get_logger("toolkit.components")
_MISSING: Final = object()


@attrs.frozen(kw_only=True, eq=False)
class Arguments:
    """The keyword arguments of one function: what never changes, and how to get the rest for a call."""

    static: Mapping[str, Any]
    #: Plugins that are not critical, and without which the function does not work.
    needs: tuple[Instance, ...]
    varying: tuple[tuple[str, _Maker], ...]

    @property
    def is_static(self) -> bool:
        """Whether every call gets the same, with nothing to be looked at."""
        return not self.needs and not self.varying

    def apply(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its static arguments in place."""
        return functools.partial(function, **self.static) if self.static else function

    def getters(self, *, alone: bool) -> tuple[tuple[str, Callable[[CallScope], Any]], ...]:
        """What gives each varying argument; ``alone`` says that nothing else of the call asks for any view."""
        makers = [maker for _, maker in self.varying]
        if alone and len(set(makers)) == len(makers) and all(isinstance(maker, _ViewMaker) for maker in makers):
            return tuple((name, maker.open) for name, maker in self.varying if isinstance(maker, _ViewMaker))
        return tuple((name, maker.get) for name, maker in self.varying)

    async def make(self, scope: CallScope) -> dict[str, Any]:
        """The arguments for the call to which ``scope`` belongs.

        Raises:
            UnavailableError: a plugin is degraded, and the function does not take None for it.
        """
        for instance in self.needs:
            if instance.state is not PluginState.READY:
                raise UnavailableError(instance.prefix, instance.type)
        arguments = dict(self.static)
        for name, maker in self.varying:
            value = maker.get(scope)
            arguments[name] = await value if type(value) is CoroutineType else value
        return arguments


class Wiring:
    """The values behind the sources, for as long as one Dispatcher lives."""

    def __init__(
        self,
        registry: Registry,
        *,
        objects: Mapping[Any, Any],
        settings: Mapping[type, object],
        clients: Mapping[str, object],
        shield: Shield,
    ) -> None:
        self.shield = shield
        self._registry = registry
        self._objects = objects
        self._settings = settings
        self._clients = clients
        self._singletons: dict[Component, Any] = {}
        self._views: dict[tuple[str, Any], Any] = {}
        self._makers: dict[Any, _Maker] = {}
        self._entered: list[tuple[Component, Any]] = []

    async def build(self, components: Iterable[Component]) -> None:
        """Build and enter every component that is not built for each call; what one takes comes before it.

        Raises:
            StartupError: a constructor or ``__aenter__`` raised; those entered so far are still to be left.
        """
        for component in components:
            if component.per_call or component in self._singletons:
                continue
            try:
                arguments = self.arguments(component.injection, component=component.signature.name)
                instance = component.cls(**arguments.static)
                if _enters(component.cls):
                    await instance.__aenter__()
                    self._entered.append((component, instance))
            except Exception as error:
                name = type(error).__name__
                problem = Problem(
                    code="lifecycle.component_failed",
                    where=component.signature.draw(),
                    what=f"the component could not be built: {name}: {error}" if str(error) else name,
                )
                raise StartupError([problem]) from error
            self._singletons[component] = instance

    async def leave(self) -> None:
        """Leave the components in reverse; the first of their errors is raised when all are left."""
        first: BaseException | None = None
        while self._entered:
            component, instance = self._entered.pop()
            try:
                await instance.__aexit__(None, None, None)
            except BaseException as error:  # noqa: BLE001 -- raised again when all are left
                _log.error(COMPONENT_STOP_FAILED, component=component.signature.name, exc_info=error)
                first = first or error
        if first is not None:
            raise first

    def singleton(self, component: Component) -> Any:
        """The one instance of a component that is not built for each call."""
        return self._singletons[component]

    def lacks(self, injection: Injection) -> Component | None:
        """A component that would have had to be built at the start, and was not."""
        for component in injection.components():
            if not component.per_call and component not in self._singletons:
                return component
            missing = self.lacks(component.injection)
            if missing is not None:
                return missing
        return None

    def arguments(self, injection: Injection, **log_fields: str) -> Arguments:
        """The compiled arguments of a function; ``log_fields`` are bound to the logger it may ask for."""
        static: dict[str, Any] = {}
        varying: list[tuple[str, _Maker]] = []
        for name, source in injection.sources.items():
            value = self._value(source, log_fields)
            if isinstance(value, _Maker):
                varying.append((name, value))
            else:
                static[name] = value
        needs = {prefix: self._registry[prefix] for prefix in _plain_prefixes(injection)}
        return Arguments(
            static=static,
            needs=tuple(instance for instance in needs.values() if not instance.critical),
            varying=tuple(varying),
        )

    def maker(self, component: Component) -> _Maker:
        """Makes the component that every call has of its own."""
        known = self._makers.get(component)
        if known is None:
            arguments = self.arguments(component.injection, component=component.signature.name)
            known = self._makers[component] = _ComponentMaker(component, arguments)
        return known

    def _value(self, source: Source, log_fields: Mapping[str, str]) -> Any:
        if isinstance(source, ViewSource):
            return self._view(source)
        if isinstance(source, ComponentSource):
            component = source.component
            return self.maker(component) if component.per_call else self._singletons[component]
        if isinstance(source, SettingsSource):
            return self._settings[source.type]
        if isinstance(source, RuntimeSource):
            return self._objects[source.type]
        if isinstance(source, ClientSource):
            return self._clients[source.name]
        return structlog.get_logger("toolkit.service").bind(**log_fields)

    def _view(self, source: ViewSource) -> Any:
        instance = self._registry[source.prefix]
        key = (source.prefix, source.type)
        value: Any
        if isinstance(source.view, PerCall):
            value = self._makers.get(key)
            if value is None:
                value = self._makers[key] = _ViewMaker(source.view, instance)
        else:
            value = self._views.get(key, _MISSING)
            if value is _MISSING:
                value = self._views[key] = source.view(instance.resource)
        if source.optional and not instance.critical:
            return _OptionalMaker(value, instance)
        return value


class _Maker:
    """Gets a value for one call: the value itself, or a coroutine of it where it has to be waited for."""

    __slots__ = ()

    def get(self, scope: CallScope) -> Any:
        raise NotImplementedError


async def obtain(maker: _Maker, scope: CallScope) -> Any:
    """The value of ``maker`` for the call to which ``scope`` belongs."""
    value = maker.get(scope)
    return await value if type(value) is CoroutineType else value


class _ViewMaker(_Maker):
    """A view of one plugin; there is one for each (prefix, view), so it is the key to what it has opened."""

    __slots__ = ("_open", "_prefix", "_ready_type", "_resource", "_view")

    def __init__(self, view: PerCall[Any, Any], instance: Instance) -> None:
        self._view = view
        self._open = view.open
        self._prefix = instance.prefix
        self._resource = instance.resource
        #: The type of the last view that did not have to be awaited.
        self._ready_type: type | None = None

    def get(self, scope: CallScope) -> Any:
        values = scope.values
        if self in values:
            return values[self]
        return self.open(scope)

    def open(self, scope: CallScope) -> Any:
        """A new view: for where it is known that the call has none yet."""
        value = self._open(self._resource)
        if type(value) is not self._ready_type:
            if hasattr(type(value), "__await__"):
                return self._open_and_wait(value, scope)
            self._ready_type = type(value)
        scope.values[self] = value
        scope.views.append((self._prefix, self._view, value))
        return value

    async def _open_and_wait(self, opening: Any, scope: CallScope) -> Any:
        value = scope.values[self] = await opening
        scope.views.append((self._prefix, self._view, value))
        return value


class _OptionalMaker(_Maker):
    """None while the plugin is degraded."""

    __slots__ = ("_instance", "_value")

    def __init__(self, value: Any, instance: Instance) -> None:
        self._value = value
        self._instance = instance

    def get(self, scope: CallScope) -> Any:
        if self._instance.state is not PluginState.READY:
            return None
        return self._value.get(scope) if isinstance(self._value, _Maker) else self._value


class _ComponentMaker(_Maker):
    """A component of the call; there is one for each class, so it is the key to what it has made."""

    __slots__ = ("_arguments", "_cls", "_enters")

    def __init__(self, component: Component, arguments: Arguments) -> None:
        self._arguments = arguments
        self._cls = component.cls
        self._enters = _enters(component.cls)

    def get(self, scope: CallScope) -> Any:
        found = scope.values.get(self)
        return self._make(scope) if found is None else found

    async def _make(self, scope: CallScope) -> Any:
        instance = self._cls(**await self._arguments.make(scope))
        if self._enters:
            await instance.__aenter__()
            scope.enter(instance)
        scope.values[self] = instance
        return instance


def _enters(cls: type) -> bool:
    return hasattr(cls, "__aenter__") and hasattr(cls, "__aexit__")


def _plain_prefixes(injection: Injection) -> Iterator[str]:
    """The plugins without which a function does not work; components of the call look for themselves."""
    for source in injection.sources.values():
        if isinstance(source, ViewSource):
            if not source.optional:
                yield source.prefix
        elif isinstance(source, ComponentSource) and not source.component.per_call:
            yield from _plain_prefixes(source.component.injection)
