"""Bind handlers to a manifest, checking every signature and opening nothing; then connect them to what was opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs

from toolkit.errors import BindingError, Problem
from toolkit.manifest import Manifest, MethodDeclaration
from toolkit.manifest.names import nearest
from toolkit.plugins import Plugin
from toolkit.runtime.dispatch import Dispatcher, Hook, InFlight
from toolkit.runtime.handlers import HandlerSet
from toolkit.runtime.injection.checks import Demand, check_demands, demands_of
from toolkit.runtime.injection.endpoints import compile_endpoint, compile_function
from toolkit.runtime.injection.methods import Handler, MethodFinder
from toolkit.runtime.injection.middlewares import Middleware, Middlewares
from toolkit.runtime.injection.resolve import Resolver
from toolkit.runtime.injection.signature import kind_of, locate, read_function
from toolkit.runtime.injection.sources import Injection
from toolkit.runtime.injection.wiring import Wiring
from toolkit.runtime.registry import Registry
from toolkit.runtime.service import Service
from toolkit.runtime.shield import Shield

__all__ = ["Plan", "bind"]

Function = Callable[..., Any]


@attrs.frozen(kw_only=True, eq=False)
class _BoundMethod:
    handler: Handler
    middlewares: tuple[Middleware, ...]

    def injections(self) -> list[Injection]:
        """Everything that a call of the method injects."""
        receiver = self.handler.receiver
        own = [receiver.injection] if receiver is not None else []
        return [*(item.injection for item in self.middlewares), *own, self.handler.injection]


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """Who is given what, decided for every method before anything opens."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    #: Every ``@settings`` class that a module defines or a signature asks for.
    settings: frozenset[type]
    #: Method path to the prefixes of the plugins that it uses, directly or through components and middlewares.
    uses: Mapping[str, frozenset[str]]
    #: The same for each served service.
    service_uses: Mapping[str, frozenset[str]]
    #: Methods that a route of the manifest answers, which nothing serves yet; one sentence each.
    not_served: tuple[str, ...]
    #: Methods that have neither handler nor route, where that is allowed.
    unimplemented: tuple[MethodDeclaration, ...]
    manifest: Manifest
    _methods: tuple[_BoundMethod, ...]
    _hooks: Mapping[str, tuple[tuple[Function, Injection], ...]]
    _services: tuple[Service, ...]
    _resolver: Resolver
    _app_type: type | None

    def check_function(self, function: Function) -> None:
        """Check that a plugin's callback can be injected; nothing has to be opened for that.

        Raises:
            BindingError: a parameter cannot be resolved.
        """
        self._inject(function)

    def _inject(self, function: Function) -> Injection:
        before = len(self._resolver.problems)
        signature = read_function(function)
        _check_coroutine(function, signature.name, "callback", self._resolver.problems)
        injection = self._resolver.resolve(signature)
        late = self._resolver.settings - self.settings
        self._resolver.problems.extend(
            Problem(
                code="binding.late_settings",
                where=signature.draw(),
                what=f"{cls.__name__} was not known when the environment was read, for only a plugin asks for it",
                fix="import the class in a module of handlers",
            )
            for cls in late
        )
        problems = self._resolver.problems[before:]
        if problems:
            del self._resolver.problems[before:]
            raise BindingError(problems)
        return injection

    def connect(
        self,
        registry: Registry,
        *,
        app: Any,
        settings: Mapping[type, object],
        clients: Mapping[str, object] | None = None,
        around: Sequence[Callable[..., Awaitable[Any]]] = (),
        finish_timeout: float = 10.0,
    ) -> AbstractAsyncContextManager[Dispatcher]:
        """Build the components and compile every method; leaving it leaves the components in reverse.

        ``around`` are the middlewares of plugins, outermost first. ``finish_timeout`` bounds
        the commit and the closing of what a call has opened, in seconds.

        Raises:
            StartupError: a component could not be built.
        """
        objects: dict[Any, Any] = {Registry: registry, Manifest: self.manifest}
        if self._app_type is not None:
            objects[self._app_type] = app

        def wire() -> Wiring:
            shield = Shield(finish_timeout)
            return Wiring(registry, objects=objects, settings=settings, clients=clients or {}, shield=shield)

        return self._connect(wire, around)

    @asynccontextmanager
    async def _connect(
        self, wire: Callable[[], Wiring], around: Sequence[Callable[..., Awaitable[Any]]]
    ) -> AsyncIterator[Dispatcher]:
        wiring = wire()
        for service in self._services:
            service.attach(self.manifest)
        try:
            await wiring.build(self._resolver.components)
            yield self._compile(wiring, around)
        except BaseException:
            await _leave_quietly(wiring)
            raise
        else:
            await wiring.leave()
        finally:
            await wiring.shield.close()
            for service in self._services:
                service.detach(self.manifest)

    def _compile(self, wiring: Wiring, around: Sequence[Callable[..., Awaitable[Any]]]) -> Dispatcher:
        in_flight = InFlight()
        endpoints = {
            bound.handler.method.path: compile_endpoint(
                bound.handler, bound.middlewares, wiring, around=around, in_flight=in_flight
            )
            for bound in self._methods
        }
        compiled: dict[Function, Callable[..., Awaitable[Any]]] = {}

        def bind_function(function: Function) -> Callable[..., Awaitable[Any]]:
            if function not in compiled:
                compiled[function] = self._compile_late(function, wiring)
            return compiled[function]

        def hooks(kind: str) -> list[Hook]:
            return [
                Hook(f"{function.__module__}.{function.__name__}", compile_function(function, injection, wiring))
                for function, injection in self._hooks[kind]
            ]

        return Dispatcher(
            endpoints=endpoints,
            start_hooks=tuple(hooks("on_start")),
            stop_hooks=tuple(reversed(hooks("on_stop"))),
            calls=in_flight,
            bind=bind_function,
        )

    def _compile_late(self, function: Function, wiring: Wiring) -> Callable[..., Awaitable[Any]]:
        injection = self._inject(function)
        missing = wiring.lacks(injection)
        if missing is not None:
            problem = Problem(
                code="binding.late_component",
                where=injection.signature.draw(),
                what=f"{missing.cls.__name__} would have had to be built at the start, and nothing asked for it then",
                fix="import the class in a module of handlers",
            )
            raise BindingError([problem])
        return compile_function(function, injection, wiring)


def bind(
    handlers: HandlerSet,
    manifest: Manifest,
    plugins: Mapping[str, Plugin[Any, Any]],
    *,
    allow_unimplemented: bool = False,
    app_type: type | None = None,
    clients: Collection[str] = (),
    not_served: Collection[str] = (),
) -> Plan:
    """Check every signature of the handlers against the manifest and its plugins.

    ``plugins`` are those that could be loaded, by prefix. ``app_type`` is what an
    annotation has to be to receive the App; by default the runtime's own. ``clients`` are the
    names of the declared clients that :meth:`Plan.connect` will be given. ``not_served`` are
    the prefixes whose plugins do not exist yet: a manifest may declare them, no handler may take one.
    """
    app_type = app_type if app_type is not None else _find_app_type()
    resolver = Resolver(
        manifest, plugins, runtime_types=(Registry, Manifest, app_type), clients=clients, not_served=not_served
    )
    finder = MethodFinder(manifest, resolver)
    found = finder.find(handlers.services)
    middlewares = Middlewares(manifest, resolver, handlers.middlewares)
    methods = tuple(_with_middlewares(handler, middlewares, manifest) for handler in found)
    hooks = {kind: _hooks(getattr(handlers, kind), kind, resolver) for kind in ("on_start", "on_stop")}
    for cls in handlers.components:
        resolver.component(cls)
    demands = {bound.handler.method.path: demands_of(bound.handler.method, bound.injections()) for bound in methods}
    problems = [*resolver.problems, *check_demands(manifest, plugins, demands)]
    # After a failed import it is unknown what there would have been.
    if not allow_unimplemented and handlers.complete:
        problems.extend(_report_unimplemented(finder))
    resolver.problems.clear()
    return Plan(
        problems=tuple(dict.fromkeys(problems)),
        warnings=tuple(dict.fromkeys([*finder.warnings, *middlewares.warnings])),
        settings=handlers.settings | frozenset(resolver.settings),
        uses={path: _prefixes(group) for path, group in demands.items()},
        service_uses=_by_service(manifest, demands),
        not_served=tuple(_routed(manifest, demands)),
        unimplemented=tuple(finder.unimplemented),
        manifest=manifest,
        methods=methods,
        hooks=hooks,
        services=handlers.services,
        resolver=resolver,
        app_type=app_type,
    )


def _find_app_type() -> type:
    # The composition root imports this module; by the time anything is bound it is there.
    from toolkit.runtime.app import App

    return App


def _with_middlewares(handler: Handler, middlewares: Middlewares, manifest: Manifest) -> _BoundMethod:
    service = next(item for item in manifest.served if item.full_name == handler.method.service)
    return _BoundMethod(handler=handler, middlewares=middlewares.around(handler.method, service))


def _hooks(functions: Sequence[Function], kind: str, resolver: Resolver) -> tuple[tuple[Function, Injection], ...]:
    resolved = []
    for function in functions:
        signature = read_function(function)
        _check_coroutine(function, signature.name, f"@{kind} function", resolver.problems)
        resolver.problems.extend(
            Problem(
                code="binding.positional_parameter",
                where=signature.draw(parameter),
                what=f"{parameter.name!r} is positional, and an @{kind} function is given everything by name",
                fix=f"put `*` before it: {signature.name}(*, {parameter.text})",
            )
            for parameter in signature.positional
        )
        resolved.append((function, resolver.resolve(signature)))
    return tuple(resolved)


def _check_coroutine(function: Function, name: str, role: str, problems: list[Problem]) -> None:
    if kind_of(function) != "coroutine":
        problems.append(
            Problem(
                code="binding.not_async",
                where=f"{locate(function)} {name}",
                what=f"the {role} {name} is no coroutine function",
                why="while it ran, nothing else would",
                fix="make it `async def`; run what blocks with `await asyncio.to_thread(...)`",
            )
        )


def _report_unimplemented(finder: MethodFinder) -> list[Problem]:
    strays = {stray.attribute: stray.where for stray in finder.strays}
    problems = []
    for method in finder.unimplemented:
        meant = nearest(method.name, strays)
        name = method.name
        why = f"{strays[meant]} resembles it" if meant else ""
        if finder.has_fallback(method):
            replies = "streams its reply" if method.cardinality.server_streaming else "has one reply"
            kind = "an async generator" if method.cardinality.server_streaming else "a coroutine"
            why = f"it {replies}, and only {kind} function can be the fallback of such a method"
        problems.append(
            Problem(
                code="binding.unimplemented",
                where=str(method.location),
                what=f"{method.service}.{name} is served, and has neither a handler nor a route",
                why=why,
                fix=f'write one: @service.rpc("{name}"); or start with --allow-unimplemented',
            )
        )
    return problems


def _routed(manifest: Manifest, handled: Mapping[str, Any]) -> list[str]:
    return [
        f"the route of {method.service}.{method.name}"
        for method in manifest.methods()
        if method.route.is_routed and method.path not in handled
    ]


def _prefixes(demands: Sequence[Demand]) -> frozenset[str]:
    return frozenset(demand.need.source.prefix for demand in demands)


def _by_service(manifest: Manifest, demands: Mapping[str, Sequence[Demand]]) -> dict[str, frozenset[str]]:
    return {
        service.full_name: frozenset(
            prefix for method in service.methods for prefix in _prefixes(demands.get(method.path, ()))
        )
        for service in manifest.served
    }


async def _leave_quietly(wiring: Wiring) -> None:
    """Leave the components after a failure; what they raise is logged, and does not replace it."""
    try:
        await wiring.leave()
    except Exception:  # noqa: BLE001 -- logged where it was raised
        return
