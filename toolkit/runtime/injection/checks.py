"""What may be used where: visibility of plugins, call-scoped views and streams, views that exclude one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest, MethodDeclaration
from toolkit.plugins import PerCall, Plugin
from toolkit.runtime.injection.resolve import describe_plugin, provided_types
from toolkit.runtime.injection.signature import Signature, draw_type
from toolkit.runtime.injection.sources import Injection, Need

__all__ = ["Demand", "check_demands", "demands_of"]


@attrs.frozen(kw_only=True, eq=False)
class Demand:
    """A function of a method's, its constructor or a middleware, and one view that it needs."""

    method: MethodDeclaration
    signature: Signature
    need: Need

    @property
    def where(self) -> str:
        """The parameter, drawn."""
        parameter = next(item for item in self.signature.injected if item.name == self.need.parameter)
        return self.signature.draw(parameter)

    @property
    def view(self) -> str:
        """The view's name and prefix: ``AsyncSession of pgsql``."""
        return f"{draw_type(self.need.source.type)} of {self.need.source.prefix}"


def demands_of(method: MethodDeclaration, injections: Iterable[Injection]) -> list[Demand]:
    """Everything that the functions around one method need."""
    return [
        Demand(method=method, signature=injection.signature, need=need)
        for injection in injections
        for need in injection.needs()
    ]


def check_demands(
    manifest: Manifest, plugins: Mapping[str, Plugin[Any, Any]], demands: Mapping[str, Sequence[Demand]]
) -> list[Problem]:
    """Everything that is used where it may not be; ``demands`` are those of each method, by its path."""
    every = [demand for group in demands.values() for demand in group]
    problems = [
        *_check_visibility(manifest, plugins, every),
        *_check_streams(plugins, every),
        *(problem for group in demands.values() for problem in _check_conflicts(group)),
    ]
    return list(dict.fromkeys(problems))


def _check_visibility(
    manifest: Manifest, plugins: Mapping[str, Plugin[Any, Any]], demands: Iterable[Demand]
) -> Iterable[Problem]:
    for demand in demands:
        prefix, service = demand.need.source.prefix, demand.method.service
        declaration = manifest.plugin(prefix)
        if declaration is None or not declaration.services or service in declaration.services:
            continue
        owners = " and ".join(sorted(declaration.services))
        yield Problem(
            code="binding.invisible_plugin",
            where=demand.where,
            what=f"{describe_plugin(prefix, plugins[prefix])}{demand.need.through} is not visible to {service}",
            why=f"{declaration.location} declares it for the handlers of {owners} alone",
            fix="declare it on the file, with option (toolkit.plugins), to share it",
        )


def _check_streams(plugins: Mapping[str, Plugin[Any, Any]], demands: Iterable[Demand]) -> Iterable[Problem]:
    for demand in demands:
        source, method = demand.need.source, demand.method
        if not (source.per_call and method.cardinality.server_streaming):
            continue
        lasting = ", ".join(provided_types(plugins[source.prefix], per_call=False))
        yield Problem(
            code="binding.per_call_in_stream",
            where=demand.where,
            what=f"{demand.view}{demand.need.through} belongs to one call, and {method.service}.{method.name} "
            "streams its reply",
            why="it would stay open, and its transaction with it, for as long as the client goes on reading",
            fix=f"take what lasts ({lasting}) and open what you need for each piece of work",
        )


def _check_conflicts(demands: Sequence[Demand]) -> Iterable[Problem]:
    per_call = [demand for demand in demands if demand.need.source.per_call]
    for one, other in combinations(per_call, 2):
        first, second = one.need.source, other.need.source
        if first.prefix == second.prefix and (_excludes(first, second) or _excludes(second, first)):
            yield Problem(
                code="binding.conflicting_views",
                where=one.where,
                what=f"{one.view}{one.need.through} and {draw_type(second.type)}{other.need.through} "
                "exclude one another within a call",
                why=f"they would be two transactions; the other is taken by {other.where}",
                fix="use one of them throughout",
            )


def _excludes(source: Any, other: Any) -> bool:
    view: PerCall[Any, Any] = source.view
    return other.type in view.conflicts
