"""From a signature to the sources of its parameters; what cannot be resolved is drawn."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping
from typing import Any

import structlog

from toolkit.errors import Problem
from toolkit.manifest import Manifest
from toolkit.manifest.names import nearest
from toolkit.plugins import PerCall, Plugin
from toolkit.runtime.call import Context
from toolkit.runtime.injection.signature import Parameter, Signature, draw_type, locate, read_class
from toolkit.runtime.injection.sources import (
    ClientSource,
    Component,
    ComponentSource,
    Injection,
    LoggerSource,
    RuntimeSource,
    SettingsSource,
    Source,
    ViewSource,
)
from toolkit.runtime.marks import is_component
from toolkit.runtime.registry import find_view
from toolkit.runtime.settings import is_settings

__all__ = ["Resolver", "describe_plugin", "provided_types"]

_LOGGERS = (
    structlog.typing.FilteringBoundLogger,
    structlog.typing.BindableLogger,
    structlog.stdlib.BoundLogger,
    structlog.BoundLogger,
)


class Resolver:
    """Resolves parameters against one manifest and its plugins; ``problems`` gathers what is wrong."""

    def __init__(
        self,
        manifest: Manifest,
        plugins: Mapping[str, Plugin[Any, Any]],
        *,
        runtime_types: Collection[type],
        clients: Collection[str],
        not_served: Collection[str] = (),
    ) -> None:
        self.problems: list[Problem] = []
        #: Every settings class that a signature asks for.
        self.settings: set[type] = set()
        self._components: dict[type, Component | None] = {}
        self._manifest = manifest
        self._plugins = plugins
        self._not_served = frozenset(not_served)
        self._prefixes = {declaration.prefix for declaration in manifest.plugins}
        self._clients = {client.name for client in manifest.clients}
        #: Those of the declared clients that there will be.
        self._connected = frozenset(clients)
        self._runtime_types = tuple(runtime_types)
        #: The constructors that are being resolved, outermost first: (signature, the parameter in hand).
        self._path: list[tuple[Signature, Parameter]] = []
        self._drawn: set[frozenset[type]] = set()

    @property
    def components(self) -> tuple[Component, ...]:
        """Every component that was resolved, those that another takes before it."""
        return tuple(component for component in self._components.values() if component is not None)

    def resolve(self, signature: Signature) -> Injection:
        """The sources of all parameters; those which have none are problems, or keep their default."""
        sources = {}
        for parameter in signature.injected:
            self._path.append((signature, parameter))
            source = self._source(parameter)
            self._path.pop()
            if source is not None:
                sources[parameter.name] = source
        return Injection(signature=signature, sources=sources)

    def component(self, cls: type) -> Component | None:
        """The class as a component; None while it is being resolved, which is a circle."""
        if cls not in self._components:
            if any(signature.source is cls for signature, _ in self._path):
                self._draw_circle(cls)
                return None
            injection = self.resolve(read_class(cls))
            # Entered when it is complete, so that the order is that of construction.
            self._components[cls] = Component(cls=cls, injection=injection)
        return self._components[cls]

    # One parameter

    def _source(self, parameter: Parameter) -> Source | None:
        if parameter.positional_only:
            self._report(
                parameter,
                code="binding.positional_parameter",
                what=f"{parameter.name!r} is positional-only, and values are injected by name",
                fix="remove the `/`",
            )
            return None
        if parameter.failure:
            self._report(
                parameter,
                code="binding.annotation",
                what=f"the annotation of {parameter.name!r} does not evaluate: {parameter.failure}",
                why="what is injected is found by its type, so the type has to exist when the service runs",
                fix="import it at the top of the module, and not under `if TYPE_CHECKING:`",
            )
            return None
        key = parameter.named or parameter.name
        if key in self._prefixes:
            return self._view(parameter, key)
        if key in self._clients:
            return self._client(parameter, key)
        if parameter.named is not None:
            self._report_unknown_prefix(parameter, parameter.named)
            return None
        return self._by_type(parameter)

    def _view(self, parameter: Parameter, prefix: str) -> Source | None:
        plugin = self._plugins.get(prefix)
        if prefix in self._not_served:
            self._report(
                parameter,
                code="binding.plugin_not_served",
                what=f"{prefix!r} is declared, and its type is not served yet",
                why="a manifest may declare it already; no handler may take it",
            )
            return None
        if plugin is None:
            return None  # its type is unknown or broken, which has been reported with the declaration
        if parameter.is_free:
            self._report(
                parameter,
                code="binding.missing_annotation",
                what=f"{parameter.name!r} needs an annotation: the name picks the instance, the type picks the view",
                why=f"{describe_plugin(prefix, plugin)} provides {_listed(provided_types(plugin))}",
                fix=f"annotate it, for example `{parameter.name}: {next(iter(provided_types(plugin)), 'its type')}`",
            )
            return None
        view = _find(plugin, parameter.wanted)
        if view is None:
            self._report_wrong_type(parameter, prefix, plugin)
            return None
        view_type = typing.get_origin(parameter.wanted) or parameter.wanted
        return ViewSource(prefix=prefix, type=view_type, view=view, optional=parameter.optional)

    def _client(self, parameter: Parameter, name: str) -> Source | None:
        if name in self._connected:
            return ClientSource(name=name)
        self._report(
            parameter,
            code="binding.client_not_available",
            what=f"{name!r} is declared as a client, and clients of other services are not available yet",
            why="a manifest may declare them already; no handler may take one",
        )
        return None

    def _by_type(self, parameter: Parameter) -> Source | None:
        wanted = typing.get_origin(parameter.wanted) or parameter.wanted
        if is_component(wanted):
            component = self.component(wanted)
            return ComponentSource(component=component) if component is not None else None
        if is_settings(wanted):
            self.settings.add(wanted)
            return SettingsSource(type=wanted)
        if any(wanted is known for known in self._runtime_types):
            return RuntimeSource(type=wanted)
        if any(wanted is known for known in _LOGGERS):
            return LoggerSource()
        providers = [] if parameter.is_free else self._providers(parameter.wanted)
        if providers or not parameter.has_default:
            self._report_unresolved(parameter, providers)
        return None

    def _providers(self, wanted: Any) -> list[str]:
        return [prefix for prefix, plugin in self._plugins.items() if _find(plugin, wanted) is not None]

    # Reports

    def _report(self, parameter: Parameter, *, code: str, what: str, why: str = "", fix: str = "") -> None:
        signature = self._path[-1][0]
        if len(self._path) > 1:
            way = " → ".join(step.name for step, _ in self._path)
            why = f"{why}\nneeded on the way {way}".strip()
        self.problems.append(Problem(code=code, where=signature.draw(parameter), what=what, why=why, fix=fix))

    def _report_unknown_prefix(self, parameter: Parameter, name: str) -> None:
        meant = nearest(name, [*self._prefixes, *self._clients])
        self._report(
            parameter,
            code="binding.unknown_prefix",
            what=f"Named({name!r}) is the prefix of no declared plugin",
            why=self._declared(),
            fix=f"did you mean Named({meant!r})?" if meant else "",
        )

    def _report_wrong_type(self, parameter: Parameter, prefix: str, plugin: Plugin[Any, Any]) -> None:
        wanted = draw_type(parameter.wanted)
        others = self._providers(parameter.wanted)
        why = f"it provides {_listed(provided_types(plugin))}"
        fix = "annotate it with one of those"
        if others:
            why += f"; {wanted} is provided by {_listed(self._describe(other) for other in others)}"
            fix += f", or name the parameter {' or '.join(map(repr, others))}"
        elif is_component(parameter.wanted) or is_settings(parameter.wanted):
            fix += f"; for the {wanted} itself give the parameter a name that is no plugin's prefix"
        self._report(
            parameter,
            code="binding.wrong_type",
            what=f"{describe_plugin(prefix, plugin)} does not provide {wanted}",
            why=why,
            fix=fix,
        )

    def _report_unresolved(self, parameter: Parameter, providers: list[str]) -> None:
        name = parameter.name
        if providers:
            wanted, likely = draw_type(parameter.wanted), nearest(name, providers) or providers[0]
            self._report(
                parameter,
                code="binding.unknown_parameter",
                what=f"no plugin is declared under the prefix {name!r}",
                why=f"{wanted} is provided by {_listed(map(self._describe, providers))}",
                fix=f"name the parameter {likely!r}, or annotate it `Annotated[{wanted}, Named({likely!r})]`",
            )
            return
        if parameter.wanted is Context:
            self._report(
                parameter,
                code="binding.unknown_parameter",
                what="the call's Context is not injected by keyword",
                fix="take it as the second positional parameter of the handler, after the request",
            )
            return
        meant = nearest(name, [*self._prefixes, *self._clients])
        what = f"nothing is declared under the name {name!r}"
        fix = f"did you mean {meant!r}?" if meant else ""
        if not parameter.is_free:
            what += f", and {draw_type(parameter.wanted)} is no component, no settings and nothing of the runtime's own"
            fix = fix or f"declare a plugin under this prefix, or mark {draw_type(parameter.wanted)} with @component"
        self._report(parameter, code="binding.unknown_parameter", what=what, why=self._declared(), fix=fix)

    def _draw_circle(self, cls: type) -> None:
        start = next(index for index, (signature, _) in enumerate(self._path) if signature.source is cls)
        steps = self._path[start:]
        members = frozenset(signature.source for signature, _ in steps)
        if members in self._drawn:
            return
        self._drawn.add(members)
        names = [f"{step.name}({parameter.text})  {locate(step.source)}" for step, parameter in steps]
        names.append(f"{cls.__name__}, again")
        lines = [f"{'   ' * (depth - 1)}└─ {name}" if depth else name for depth, name in enumerate(names)]
        self.problems.append(
            Problem(
                code="binding.component_cycle",
                where=steps[0][0].draw(),
                what="components need one another in a circle",
                why="\n".join(lines),
                fix="give one of them what it needs of the other as an argument of its methods",
            )
        )

    def _describe(self, prefix: str) -> str:
        return describe_plugin(prefix, self._plugins[prefix])

    def _declared(self) -> str:
        plugins = [f"{declaration.prefix} ({declaration.type})" for declaration in self._manifest.plugins]
        clients = [f"{client.name} (a client)" for client in self._manifest.clients]
        return f"declared: {', '.join([*plugins, *clients]) or 'no plugin'}"


def describe_plugin(prefix: str, plugin: Plugin[Any, Any]) -> str:
    """``pgsql (postgres_gorm)``."""
    return f"{prefix} ({plugin.name})"


def provided_types(plugin: Plugin[Any, Any], *, per_call: bool = True) -> list[str]:
    """The names of the types that a plugin provides; without ``per_call`` those that outlive a call."""
    return [
        draw_type(provided) for provided, view in plugin.provides.items() if per_call or not isinstance(view, PerCall)
    ]


def _find(plugin: Plugin[Any, Any], wanted: Any) -> Any:
    try:
        return find_view(plugin, wanted)
    except TypeError:  # an annotation that cannot be hashed is no type
        return None


def _listed(names: typing.Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
