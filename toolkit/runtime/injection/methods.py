"""Find the handler of every served method, and check that it can be one."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest, MethodDeclaration, ServiceDeclaration
from toolkit.manifest.names import nearest
from toolkit.runtime.call import Context
from toolkit.runtime.injection.resolve import Resolver
from toolkit.runtime.injection.signature import (
    ABSENT,
    Parameter,
    Signature,
    draw_type,
    kind_of,
    locate,
    read_function,
    shorten_path,
    strip_annotation,
)
from toolkit.runtime.injection.sources import Component, Injection
from toolkit.runtime.messages import Messages, Mismatch, ReplyFace, RequestFace, can_be_message
from toolkit.runtime.service import Service

__all__ = ["Handler", "MethodFinder"]

_STREAMS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


@attrs.frozen(kw_only=True, eq=False)
class Handler:
    """A function that handles one method, with everything about it decided."""

    method: MethodDeclaration
    #: For a method of an implementation the plain function of the class.
    function: Callable[..., Any]
    injection: Injection
    #: The implementation whose ``attribute`` is called; None for a function of its own.
    receiver: Component | None = None
    attribute: str = ""
    wants_context: bool
    request: RequestFace
    reply: ReplyFace


@attrs.frozen(kw_only=True, eq=False)
class _Candidate:
    function: Callable[..., Any]
    name: str
    receiver: type | None = None
    attribute: str = ""
    skip_self: bool = False

    @property
    def where(self) -> str:
        return f"{locate(inspect.unwrap(self.function))} {self.name}"


class MethodFinder:
    """Finds handlers in services; reports go where the resolver's go."""

    def __init__(self, manifest: Manifest, resolver: Resolver) -> None:
        self._manifest = manifest
        self._resolver = resolver
        self._messages = Messages(manifest)
        self.problems = resolver.problems
        self.warnings: list[Problem] = []
        #: Methods for which nothing was found and no route answers.
        self.unimplemented: list[MethodDeclaration] = []
        #: By service.
        self._fallbacks: dict[str, list[Callable[..., Any]]] = {}
        #: Public functions of implementations that matched no method.
        self.strays: list[_Candidate] = []

    def find(self, services: Sequence[Service]) -> list[Handler]:
        """The handlers of all served methods that have one."""
        grouped: dict[str, list[Service]] = {}
        for service in services:
            grouped.setdefault(service.full_name, []).append(service)
            self._check_references(service)
        candidates: dict[str, _Candidate] = {}
        for name, group in grouped.items():
            declaration = self._manifest.service(name)
            if declaration is None or not declaration.served:
                self._report_service(group[0], declaration)
                continue
            self._fallbacks[name] = [function for service in group for function in service.fallbacks]
            for service in group:
                self._collect(service, declaration, candidates)
        handlers = []
        for method in self._manifest.methods():
            candidate = candidates.get(method.path) or self._fallback(method)
            if candidate is not None:
                handler = self._handler(method, candidate)
                if handler is not None:
                    handlers.append(handler)
            elif not method.route.is_routed:
                self.unimplemented.append(method)
        return handlers

    # Who handles what

    def _collect(self, service: Service, declaration: ServiceDeclaration, candidates: dict[str, _Candidate]) -> None:
        for mark in service.rpcs:
            function = mark.function
            name: str = getattr(function, "__name__", type(function).__name__)
            candidate, written = _Candidate(function=function, name=name), mark.name or name
            method = self._match(written, declaration)
            if method is None:
                self._report_unknown_method(candidate, written, declaration)
            else:
                self._claim(method, candidate, candidates)
        for cls in service.implementations:
            for candidate in _public_functions(cls):
                method = self._match(candidate.attribute, declaration)
                if method is not None:
                    self._claim(method, candidate, candidates)
                else:
                    self.strays.append(candidate)

    def _match(self, name: str, declaration: ServiceDeclaration) -> MethodDeclaration | None:
        exact = declaration.method(name)
        if exact is not None:
            return exact
        plain = _plain(name)
        found = [method for method in declaration.methods if _plain(method.name) == plain]
        return found[0] if len(found) == 1 else None

    def _claim(self, method: MethodDeclaration, candidate: _Candidate, candidates: dict[str, _Candidate]) -> None:
        first = candidates.setdefault(method.path, candidate)
        if first is not candidate:
            self.problems.append(
                Problem(
                    code="binding.duplicate_handler",
                    where=candidate.where,
                    what=f"{_dotted(method)} has another handler",
                    why=f"the other is {first.where}",
                    fix="remove one of them",
                )
            )

    def has_fallback(self, method: MethodDeclaration) -> bool:
        """Whether the method's service has a fallback at all."""
        return bool(self._fallbacks.get(method.service))

    def _fallback(self, method: MethodDeclaration) -> _Candidate | None:
        if method.route.is_routed:
            return None
        wanted = "async generator" if method.cardinality.server_streaming else "coroutine"
        for function in self._fallbacks.get(method.service, ()):
            # A plain function is taken, too, so that it is reported and not passed over.
            if kind_of(function) in (wanted, "sync"):
                return _Candidate(function=function, name=getattr(function, "__name__", "fallback"))
        return None

    # Whether it can

    def _handler(self, method: MethodDeclaration, candidate: _Candidate) -> Handler | None:
        if not self._check_kind(method, candidate):
            return None
        signature = read_function(candidate.function, name=candidate.name, skip_self=candidate.skip_self)
        if not self._check_positional(method, signature):
            return None
        receiver = self._resolver.component(candidate.receiver) if candidate.receiver is not None else None
        if candidate.receiver is not None and receiver is None:
            return None
        return Handler(
            method=method,
            function=candidate.function,
            injection=self._resolver.resolve(signature),
            receiver=receiver,
            attribute=candidate.attribute,
            wants_context=len(signature.positional) > 1,
            request=self._request_face(method, signature),
            reply=self._reply_face(method, signature),
        )

    def _check_kind(self, method: MethodDeclaration, candidate: _Candidate) -> bool:
        kind, streams = kind_of(candidate.function), method.cardinality.server_streaming
        if kind == ("async generator" if streams else "coroutine"):
            return True
        code, what, why, fix = "", "", "", ""
        if kind == "sync":
            code, what = "binding.not_async", f"{candidate.name} is a plain function"
            why = "it would hold up every call of the process for as long as it runs"
            shape = "`async def` with a `yield` for each reply" if streams else "`async def`"
            fix = f"make it {shape}; run what blocks with `await asyncio.to_thread(...)`"
        elif streams:
            code, what = (
                "binding.not_streaming",
                f"{_dotted(method)} streams its reply, and {candidate.name} returns one",
            )
            fix = "`yield` each reply"
        else:
            code, what = "binding.streaming", f"{_dotted(method)} has one reply, and {candidate.name} yields replies"
            fix = "return the reply, or declare `returns (stream ...)` in the proto"
        self.problems.append(Problem(code=code, where=candidate.where, what=what, why=why, fix=fix))
        return False

    def _check_positional(self, method: MethodDeclaration, signature: Signature) -> bool:
        word = "requests" if method.cardinality.client_streaming else "request"
        if not signature.positional:
            self.problems.append(
                Problem(
                    code="binding.missing_request",
                    where=signature.draw(),
                    what=f"the first positional parameter, the {word} of {_dotted(method)}, is missing",
                    fix=f"async def {signature.name.rpartition('.')[2]}({word}, …)",
                )
            )
            return False
        extra = list(signature.positional[2:])
        if len(signature.positional) > 1 and not _may_be_context(signature.positional[1]):
            extra.insert(0, signature.positional[1])
        self.problems.extend(
            Problem(
                code="binding.positional_parameter",
                where=signature.draw(parameter),
                what=f"{parameter.name!r} is positional; only the {word} and the call's Context are",
                why="what is injected is keyword-only",
                fix=f"put `*` before it: {signature.name.rpartition('.')[2]}({word}, *, {parameter.text})",
            )
            for parameter in extra
        )
        return not extra

    # Messages

    def _request_face(self, method: MethodDeclaration, signature: Signature) -> RequestFace:
        parameter = signature.positional[0]
        wanted = parameter.wanted
        mismatches: tuple[Mismatch, ...] = ()
        if parameter.failure:
            mismatches = (
                Mismatch(what=f"the annotation of {parameter.name!r} does not evaluate: {parameter.failure}"),
            )
            wanted = ABSENT
        elif method.cardinality.client_streaming and not parameter.is_free:
            if typing.get_origin(wanted) in _STREAMS:
                wanted = strip_annotation(typing.get_args(wanted)[0])[0]
            elif wanted in _STREAMS:
                wanted = ABSENT
            else:
                item = draw_type(wanted) if can_be_message(wanted) else "…"
                fix = f"annotate it `AsyncIterator[{item}]`"
                mismatches = (Mismatch(what=f"{_dotted(method)} takes a stream of requests", fix=fix),)
                wanted = ABSENT
        face = self._messages.request(method.input_type, wanted)
        self._report_mismatches("binding.request_type", signature.draw(parameter), mismatches or face.mismatches)
        return face

    def _reply_face(self, method: MethodDeclaration, signature: Signature) -> ReplyFace:
        wanted = signature.returns
        if method.cardinality.server_streaming and wanted is not ABSENT:
            wanted = typing.get_args(wanted)[0] if typing.get_origin(wanted) in _STREAMS else ABSENT
        face = self._messages.reply(method.output_type, strip_annotation(wanted)[0])
        where = f"{signature.draw()}(…) -> {draw_type(signature.returns)}"
        self._report_mismatches("binding.reply_type", where, face.mismatches)
        return face

    def _report_mismatches(self, code: str, where: str, mismatches: Sequence[Mismatch]) -> None:
        self.problems.extend(
            Problem(code=code, where=where, what=mismatch.what, fix=mismatch.fix) for mismatch in mismatches
        )

    # Reports

    def _report_service(self, service: Service, declaration: ServiceDeclaration | None) -> None:
        file, line, module = service.defined_at
        where = f"{shorten_path(file, module)}:{line} {service!r}"
        served = [known.full_name for known in self._manifest.served]
        if declaration is not None:
            self.warnings.append(
                Problem(
                    code="binding.service_not_served",
                    where=where,
                    what=f"{service.full_name} is in the descriptor set, but not served by this process",
                    why=f"served: {', '.join(served) or 'nothing'}",
                    fix="name it with --service to serve it",
                )
            )
            return
        known = [item.full_name for item in self._manifest.services]
        meant = nearest(service.full_name, known)
        self.problems.append(
            Problem(
                code="binding.unknown_service",
                where=where,
                what=f"the descriptor set has no service {service.full_name}",
                why=f"it has {', '.join(known) or 'none'}",
                fix=f"did you mean {meant!r}?" if meant else "",
            )
        )

    def _report_unknown_method(self, candidate: _Candidate, written: str, declaration: ServiceDeclaration) -> None:
        names = [method.name for method in declaration.methods]
        alike = [name for name in names if _plain(name) == _plain(written)]
        meant = nearest(_plain(written), [_plain(name) for name in names])
        real = next((name for name in names if _plain(name) == meant), None)
        fix = f'did you mean {real}? Write @rpc("{real}"), or name the function so' if real else ""
        if len(alike) > 1:
            fix = " or ".join(f'@rpc("{name}")' for name in alike)
        self.problems.append(
            Problem(
                code="binding.unknown_method",
                where=candidate.where,
                what=f"{declaration.full_name} has {'more than one' if len(alike) > 1 else 'no'} method {written!r}",
                why=f"its methods: {', '.join(names) or 'none'}",
                fix=fix,
            )
        )

    def _check_references(self, service: Service) -> None:
        file, line, module = service.defined_at
        for name, reference in service.references.items():
            if reference.find(self._manifest) is not None:
                continue
            types = [name for item in self._manifest.methods() for name in (item.input_type, item.output_type)]
            meant = nearest(name, types)
            self.problems.append(
                Problem(
                    code="binding.unknown_message",
                    where=f"{shorten_path(file, module)}:{line} {reference!r}",
                    what=f"the descriptor set has no message {name!r} that {service.full_name} could mean",
                    fix=f"did you mean {meant!r}?" if meant else "",
                )
            )


def _public_functions(cls: type) -> Iterator[_Candidate]:
    seen: set[str] = set()
    for owner in cls.__mro__:
        for name, value in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if not inspect.isfunction(function):
                continue
            seen.add(name)
            # What protoc generates raises NotImplementedError: that is no handler.
            if not function.__module__.endswith("_pb2_grpc"):
                yield _Candidate(
                    function=function,
                    name=f"{cls.__name__}.{name}",
                    receiver=cls,
                    attribute=name,
                    skip_self=not isinstance(value, staticmethod),
                )


def _may_be_context(parameter: Parameter) -> bool:
    if parameter.failure or parameter.is_free:
        return True
    return isinstance(parameter.wanted, type) and issubclass(parameter.wanted, Context)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _dotted(method: MethodDeclaration) -> str:
    return f"{method.service}.{method.name}"
