"""Which services there are, which of them are served, and what their methods declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodDescriptorProto, MethodOptions, ServiceDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import (
    Cardinality,
    HttpRule,
    Location,
    MethodDeclaration,
    ProxyTarget,
    RouteDeclaration,
    ServerKind,
    ServiceDeclaration,
)
from toolkit.manifest.names import nearest, quoted
from toolkit.manifest.options import HTTP, OptionReader, Options
from toolkit.manifest.sets import DescriptorSet, File
from toolkit.manifest.source import Path

__all__ = ["FoundService", "check_proxies", "choose_served", "declare_service", "find_services"]

# Field numbers of FileDescriptorProto, ServiceDescriptorProto and MethodDescriptorProto.
_SERVICE = 6
_METHOD = 2
_SERVICE_OPTIONS = 3
_METHOD_OPTIONS = 4

_CARDINALITIES = {
    (False, False): Cardinality.UNARY_UNARY,
    (False, True): Cardinality.UNARY_STREAM,
    (True, False): Cardinality.STREAM_UNARY,
    (True, True): Cardinality.STREAM_STREAM,
}

_VERBS = ("get", "put", "post", "delete", "patch")


@attrs.frozen(kw_only=True)
class FoundService:
    """A service of the set, before it is known whether it is served."""

    full_name: str
    file: File
    proto: ServiceDescriptorProto
    path: Path
    has_runtime: bool

    @property
    def location(self) -> Location:
        """The line on which the service begins."""
        return self.file.source.location(self.path)


def find_services(files: Iterable[File], reader: OptionReader) -> tuple[FoundService, ...]:
    """All services, in the order of their files."""
    found: list[FoundService] = []
    for file in files:
        package = f"{file.descriptor.package}." if file.descriptor.package else ""
        for index, proto in enumerate(file.descriptor.service):
            path = (_SERVICE, index)
            has_runtime = False
            if proto.HasField("options"):
                options = reader.read(
                    "Service", proto.options, file.source, (*path, _SERVICE_OPTIONS), Findings(keep=False)
                )
                has_runtime = "toolkit.runtime" in options.values
            found.append(
                FoundService(full_name=package + proto.name, file=file, proto=proto, path=path, has_runtime=has_runtime)
            )
    return tuple(found)


def choose_served(
    services: Sequence[FoundService], sets: Sequence[DescriptorSet], wanted: Sequence[str], findings: Findings
) -> frozenset[str]:
    """The full names of the services to serve: those that are asked for, or else those that each set means.

    A set means the services which carry ``(toolkit.runtime)``; if none does, those of the
    files that it was made for: buf says which, of others it is the files that no file imports.
    """
    known = {service.full_name: service for service in services}
    if wanted:
        for name in dict.fromkeys(wanted):
            if name not in known:
                near = nearest(name, known)
                findings.add(
                    "unknown_service",
                    f"no service is called {quoted(name)}",
                    where="--service",
                    why=f"the nearest one is {near}" if near else _list_services(services),
                    fix=f"--service {near}" if near else "give the full name, with its package",
                )
        return frozenset(name for name in wanted if name in known)
    served: set[str] = set()
    for descriptor_set in sets:
        names = {file.name for file in descriptor_set.files}
        mine = [service for service in services if service.file.name in names]
        marked = [service for service in mine if service.has_runtime]
        roots = _find_roots(descriptor_set)
        served.update(service.full_name for service in marked or (one for one in mine if one.file.name in roots))
    if not served:
        _add_no_service(services, findings)
    return frozenset(served)


def _find_roots(one: DescriptorSet) -> set[str]:
    if any(file.is_import is not None for file in one.files):
        return {file.name for file in one.files if not file.is_import}
    imported = {name for file in one.files for name, _ in file.imports if name != file.name}
    return {file.name for file in one.files if file.name not in imported}


def _add_no_service(services: Sequence[FoundService], findings: Findings) -> None:
    if not services:
        findings.add(
            "no_service",
            "no file of the descriptor set declares a service",
            fix="add a service to the .proto, or compile the .proto that has it",
        )
        return
    first = services[0]
    findings.add(
        "no_service",
        "no service of the descriptor set is to be served",
        where=first.location,
        why=f"{_list_services(services)}; none carries (toolkit.runtime), and all are in imported files",
        fix=f"--service {first.full_name}, or: option (toolkit.runtime) = {{servers: GRPC}};",
    )


def _list_services(services: Sequence[FoundService]) -> str:
    if not services:
        return "the set has no service at all"
    names = ", ".join(service.full_name for service in services[:5])
    more = f" and {len(services) - 5} more" if len(services) > 5 else ""
    return f"the set has {names}{more}"


def declare_service(
    service: FoundService, pool: DescriptorPool, reader: OptionReader, findings: Findings, *, served: bool
) -> tuple[ServiceDeclaration, Options]:
    """The service with its methods; its options are returned as well, for the plugins among them."""
    source, path = service.file.source, service.path
    options = reader.read("Service", service.proto.options, source, (*path, _SERVICE_OPTIONS), findings)
    descriptor: ServiceDescriptor = pool.FindServiceByName(service.full_name)
    runtime: Mapping[str, Any] = options.values.get("toolkit.runtime", {})
    server: Mapping[str, Any] = options.values.get("toolkit.server", {})
    declaration = ServiceDeclaration(
        full_name=service.full_name,
        methods=tuple(
            _declare_method(service, index, descriptor.methods[index], reader, findings)
            for index in range(len(service.proto.method))
        ),
        served=served,
        servers=_read_servers(runtime.get("servers", ()), options, findings),
        has_runtime=service.has_runtime,
        middlewares=tuple(server.get("middlewares", ())),
        comment=source.comment(path),
        location=source.location(path),
    )
    return declaration, options


def _read_servers(numbers: Iterable[int], options: Options, findings: Findings) -> tuple[ServerKind, ...]:
    known = {kind.value for kind in ServerKind}
    kinds: list[ServerKind] = []
    for index, number in enumerate(numbers):
        if number in known:
            kinds.append(ServerKind(number))
            continue
        findings.add(
            "unknown_option",
            f"(toolkit.runtime).servers has the value {number}, which this version of toolkit does not know",
            where=options.location("toolkit.runtime", 2, index),
            why="it knows " + ", ".join(f"{kind.name} = {kind.value}" for kind in ServerKind),
            fix='update toolkit, or compile with its own annotations: -I "$(toolkit schemas)"',
        )
    return tuple(dict.fromkeys(kinds))


def _declare_method(
    service: FoundService, index: int, descriptor: MethodDescriptor, reader: OptionReader, findings: Findings
) -> MethodDeclaration:
    proto: MethodDescriptorProto = service.proto.method[index]
    source, path = service.file.source, (*service.path, _METHOD, index)
    options = reader.read("Method", proto.options, source, (*path, _METHOD_OPTIONS), findings)
    level = proto.options.idempotency_level
    return MethodDeclaration(
        name=descriptor.name,
        service=service.full_name,
        input_type=descriptor.input_type.full_name,
        output_type=descriptor.output_type.full_name,
        cardinality=_CARDINALITIES[descriptor.client_streaming, descriptor.server_streaming],
        route=_read_route(options),
        http=_read_http(options.values.get(HTTP, {})),
        side_effect_free=level == MethodOptions.NO_SIDE_EFFECTS,
        idempotent=level in (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT),
        comment=source.comment(path),
        location=source.location(path, service.path),
    )


def _read_route(options: Options) -> RouteDeclaration:
    route = options.values.get("toolkit.route")
    if route is None:
        return RouteDeclaration()
    http, websocket = route.get("http_proxy"), route.get("websocket_proxy")
    return RouteDeclaration(
        middlewares=tuple(route.get("middlewares", ())),
        exclude_global_middlewares=tuple(route.get("exclude_global_middlewares", ())),
        http_proxy=None if http is None else _read_target(http),
        websocket_proxy=None if websocket is None else _read_target(websocket),
        websocket=bool(route.get("websocket", False)),
        location=options.location("toolkit.route"),
    )


def _read_target(target: Mapping[str, Any]) -> ProxyTarget:
    return ProxyTarget(service=target.get("service", ""), method=target.get("method", ""))


def _read_http(rule: Mapping[str, Any]) -> tuple[HttpRule, ...]:
    bindings = [rule, *rule.get("additional_bindings", ())]
    return tuple(read for read in map(_read_binding, bindings) if read is not None)


def _read_binding(rule: Mapping[str, Any]) -> HttpRule | None:
    verb = next((verb for verb in _VERBS if verb in rule), None)
    if verb is None and "custom" not in rule:
        return None
    custom: Mapping[str, str] = rule.get("custom", {})
    return HttpRule(
        verb=verb.upper() if verb else custom.get("kind", ""),
        path=rule[verb] if verb else custom.get("path", ""),
        body=rule.get("body", ""),
        response_body=rule.get("response_body", ""),
    )


def check_proxies(services: Sequence[ServiceDeclaration], findings: Findings) -> None:
    """Find the proxy routes of served methods that lead to a method which a known service does not have."""
    known = {service.full_name: [method.name for method in service.methods] for service in services}
    for method in (method for service in services if service.served for method in service.methods):
        route = method.route
        for option, target in (("http_proxy", route.http_proxy), ("websocket_proxy", route.websocket_proxy)):
            full_name, _, name = (target.method if target else "").removeprefix("/").partition("/")
            methods = known.get(full_name)
            if target is None or methods is None or name in methods:
                continue
            near = nearest(name, methods)
            findings.add(
                "unknown_proxy_method",
                f"{method.name} leads to {quoted(target.method)}, but {full_name} has no method {quoted(name)}",
                where=route.location or method.location,
                why=f"it has {', '.join(methods[:10])}" if methods else "it has no methods",
                fix=f'write {option}: {{method: "/{full_name}/{near}"}}' if near else "name a method that it has",
            )
