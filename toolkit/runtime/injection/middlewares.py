"""Which middlewares run around which method, and whether each can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest, MethodDeclaration, ServiceDeclaration
from toolkit.manifest.names import nearest
from toolkit.runtime.injection.resolve import Resolver
from toolkit.runtime.injection.signature import Signature, kind_of, read_function
from toolkit.runtime.injection.sources import Injection
from toolkit.runtime.marks import middleware_mark

__all__ = ["Middleware", "Middlewares"]


@attrs.frozen(kw_only=True, eq=False)
class Middleware:
    """A middleware with its parameters resolved."""

    name: str
    function: Callable[..., Any]
    injection: Injection
    #: Whether it runs on every method that does not leave it out.
    everywhere: bool


class Middlewares:
    """The app's middlewares, resolved, and put in order for each method."""

    def __init__(self, manifest: Manifest, resolver: Resolver, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.problems = resolver.problems
        self.warnings: list[Problem] = []
        self._resolver = resolver
        self._by_name = {name: self._read(name, function) for name, function in functions.items()}
        self._check_names(manifest)

    def around(self, method: MethodDeclaration, service: ServiceDeclaration) -> tuple[Middleware, ...]:
        """The middlewares of a method, outermost first: those of all, those of its service, those of its route."""
        route = method.route
        names = [name for name, item in self._by_name.items() if item is not None and item.everywhere]
        names.extend(service.middlewares)
        chosen = [name for name in names if name not in route.exclude_global_middlewares]
        chosen.extend(route.middlewares)
        found = [self._by_name.get(name) for name in dict.fromkeys(chosen)]
        return tuple(item for item in found if item is not None)

    def _read(self, name: str, function: Callable[..., Any]) -> Middleware | None:
        signature = read_function(function)
        if kind_of(function) != "coroutine":
            self.problems.append(
                Problem(
                    code="binding.not_async",
                    where=signature.draw(),
                    what=f"the middleware {signature.name} is no coroutine function",
                    why="it runs around every call and has to await the next",
                    fix=f"async def {signature.name}(call, next, …): return await next(call)",
                )
            )
            return None
        if len(signature.positional) != 2 and not signature.has_varargs:
            self.problems.append(_wrong_parameters(signature))
            return None
        mark = middleware_mark(function)
        return Middleware(
            name=name,
            function=function,
            injection=self._resolver.resolve(signature),
            everywhere=mark is None or mark.everywhere,
        )

    def _check_names(self, manifest: Manifest) -> None:
        named: set[str] = set()
        for service in manifest.served:
            for name in service.middlewares:
                named.add(name)
                self._check_name(name, str(service.location), service.full_name)
            for method in service.methods:
                for name in (*method.route.middlewares, *method.route.exclude_global_middlewares):
                    named.add(name)
                    self._check_name(name, str(method.location), f"{service.full_name}.{method.name}")
        for name, item in self._by_name.items():
            if item is not None and not item.everywhere and name not in named:
                self.warnings.append(
                    Problem(
                        code="binding.unused_middleware",
                        where=item.injection.signature.draw(),
                        what=f"the middleware {name!r} runs nowhere, for the manifest names it nowhere",
                        fix="name it in (toolkit.server).middlewares or in a route, or mark it with plain @middleware",
                    )
                )

    def _check_name(self, name: str, where: str, owner: str) -> None:
        if name in self._by_name:
            return
        meant = nearest(name, self._by_name)
        self.warnings.append(
            Problem(
                code="binding.unknown_middleware",
                where=where,
                what=f"{owner} names the middleware {name!r}, which no handler module defines: it does not run",
                why=f"defined: {', '.join(self._by_name) or 'none'}",
                fix=f"did you mean {meant!r}?" if meant else "",
            )
        )


def _wrong_parameters(signature: Signature) -> Problem:
    given = ", ".join(parameter.name for parameter in signature.positional) or "none"
    return Problem(
        code="binding.middleware_signature",
        where=signature.draw(),
        what=f"a middleware takes two positional parameters, the call and the next; this one takes: {given}",
        fix=f"async def {signature.name}(call, next, *, …); what is injected is keyword-only",
    )
