"""Which methods a server has: from its reflection, or from a descriptor set; and which one a name means."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.cli.report import show_problems
from toolkit.errors import Problem

if TYPE_CHECKING:
    import grpc

__all__ = ["Method", "NotCalledError", "Schema", "list_methods", "read_schema", "reflect"]

#: Services that any server has beside its own.
_BUILTIN = "grpc."
_REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


class NotCalledError(click.ClickException):
    """Nothing was called, for the reason that the problem tells."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def show(self, file: Any = None) -> None:
        """Draw the problem as all others are drawn."""
        show_problems([self.problem], "nothing was called")


@attrs.frozen(kw_only=True, eq=False)
class Method:
    """A method that can be called."""

    service: str
    name: str
    request: Descriptor
    reply: Descriptor
    client_streaming: bool
    server_streaming: bool

    @property
    def full_name(self) -> str:
        """``shop.v1.UserService/CreateUser``."""
        return f"{self.service}/{self.name}"

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{self.full_name}"

    @property
    def request_class(self) -> Any:
        """The request's message class."""
        return message_factory.GetMessageClass(self.request)

    @property
    def reply_class(self) -> Any:
        """The reply's message class."""
        return message_factory.GetMessageClass(self.reply)


@attrs.frozen(kw_only=True, eq=False)
class Schema:
    """What a server serves, as far as it was asked."""

    pool: DescriptorPool
    #: By full name. None: it is served, but was not asked about, for its name did not fit.
    services: Mapping[str, ServiceDescriptor | None]

    def methods(self) -> Iterator[Method]:
        """All methods that are known."""
        for name, service in self.services.items():
            for method in service.methods if service is not None else ():
                yield _method(name, method)

    def find(self, name: str) -> Method:
        """The method that ``name`` means.

        Raises:
            NotCalledError: none, or several.
        """
        service, method = split_name(name)
        known = list(self.methods())
        fitting = [item for item in known if item.name == method and fits(item.service, service)]
        if not fitting:
            folded = _fold(method)
            fitting = [item for item in known if _fold(item.name) == folded and fits(item.service, service)]
        own = [item for item in fitting if not item.service.startswith(_BUILTIN)]
        if len(own or fitting) == 1:
            return (own or fitting)[0]
        raise NotCalledError(self._ambiguous(name, fitting) if fitting else self._unknown(name, known))

    def _ambiguous(self, name: str, fitting: Sequence[Method]) -> Problem:
        return Problem(
            code="call.ambiguous_method",
            what=f"{name!r} may be any of {len(fitting)} methods",
            why="\n".join(item.full_name for item in fitting),
            fix="write the service, too",
        )

    def _unknown(self, name: str, known: Sequence[Method]) -> Problem:
        service, method = split_name(name)
        meant = [item for item in known if name.strip("/") and fits(item.service, name.strip("/"))]
        if meant:
            return Problem(
                code="call.no_method",
                what=f"{meant[0].service} is a service",
                why=f"its methods are {_some(item.name for item in meant)}",
                fix=f"write which, e.g. {meant[0].full_name}",
            )
        if service and not known:
            # What is compared with a name without package has none either.
            parts = {item: item if "." in service else item.rpartition(".")[2] for item in self.services}
            nearest = _nearest(service, parts)
            return Problem(
                code="call.unknown_service",
                what=f"the server has no service {service!r}",
                why=f"it has {_some(item for item in self.services if not item.startswith(_BUILTIN))}",
                fix=f"did you mean {nearest}/{method}?" if nearest else "",
            )
        names = {item.full_name: item.name for item in known if service or not item.service.startswith(_BUILTIN)}
        nearest = _nearest(method, names)
        return Problem(
            code="call.unknown_method",
            what=f"{known[0].service if service else 'the server'} has no method {method!r}",
            why=f"it has {_some(names.values() if service else names)}",
            fix=f"did you mean {nearest}?" if nearest else "",
        )


def _nearest(name: str, names: Mapping[str, str]) -> str:
    from rapidfuzz import fuzz, process

    found = process.extractOne(name, names, scorer=fuzz.ratio, processor=_fold, score_cutoff=60)
    return str(found[2]) if found else ""


def _some(names: Iterable[str], limit: int = 12) -> str:
    listed = list(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "") if listed else "none"


def split_name(name: str) -> tuple[str, str]:
    """Service (empty when it is not given) and method of a name in any of its forms."""
    name = name.strip().lstrip("/")
    service, _, method = name.rpartition("/" if "/" in name else ".")
    return service, method


def fits(service: str, wanted: str) -> bool:
    """Whether ``wanted`` is the service's full name, the end of it, or empty."""
    folded, part = service.lower(), wanted.lower()
    return not part or folded == part or folded.endswith(f".{part}")


def _fold(name: str) -> str:
    return name.lower().replace("_", "")


def _method(service: str, method: MethodDescriptor) -> Method:
    descriptor: Any = method
    return Method(
        service=service,
        name=method.name,
        request=method.input_type,
        reply=method.output_type,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
    )


def list_methods(schema: Schema) -> str:
    """All methods with what goes in and out, for people to read; the server's own come last."""
    blocks = []
    for name in sorted(schema.services, key=lambda name: (name.startswith(_BUILTIN), name)):
        lines = [click.style(name, bold=True)]
        for method in schema.methods():
            if method.service == name:
                request = ("stream " if method.client_streaming else "") + method.request.full_name
                reply = ("stream " if method.server_streaming else "") + method.reply.full_name
                lines.append(f"  {method.name}({request}) → {reply}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def read_schema(descriptor_set: bytes) -> Schema:
    """What a descriptor set declares.

    Raises:
        ManifestError: it is none that can be used.
    """
    from toolkit.manifest import read_manifest

    manifest = read_manifest(descriptor_set)
    names = [service.full_name for service in manifest.services]
    return Schema(pool=manifest.pool, services={name: manifest.pool.FindServiceByName(name) for name in names})


def reflect(
    channel: grpc.Channel,
    name: str | None,
    *,
    timeout: float | None,
    metadata: Sequence[tuple[str, str | bytes]],
) -> Schema:
    """Ask a server for the services that the method's name fits, or for all of them.

    Raises:
        NotCalledError: it has no reflection.
        grpc.RpcError: it could not be asked.
    """
    reflection = _Reflection(channel, timeout, metadata)
    services = reflection.list_services()
    wanted = split_name(name)[0] if name is not None else ""
    asked = [service for service in services if fits(service, wanted) or (name and fits(service, name.strip("/")))]
    pool = reflection.read_pool(asked)
    return Schema(
        pool=pool,
        services={service: pool.FindServiceByName(service) if service in asked else None for service in services},
    )


class _Reflection:
    """The client's side of reflection, in the newest version that the server has."""

    def __init__(
        self, channel: grpc.Channel, timeout: float | None, metadata: Sequence[tuple[str, str | bytes]]
    ) -> None:
        # The messages of v1 are those of v1alpha under another name: their bytes are the same.
        from grpc_reflection.v1alpha import reflection_pb2  # type: ignore[import-untyped]  # it has no stubs

        self._messages: Any = reflection_pb2
        self._channel = channel
        self._timeout = timeout
        self._metadata = metadata
        self._paths = list(_REFLECTION)

    def list_services(self) -> list[str]:
        (response,) = self._ask([{"list_services": ""}])
        return [service.name for service in response.list_services_response.service]

    def read_pool(self, symbols: Iterable[str]) -> DescriptorPool:
        files: dict[str, FileDescriptorProto] = {}
        questions = [{"file_containing_symbol": symbol} for symbol in symbols]
        while questions:
            for question, response in zip(questions, self._ask(questions), strict=True):
                for data in response.file_descriptor_response.file_descriptor_proto or _fall_back(question, response):
                    file = FileDescriptorProto.FromString(data)
                    files[file.name] = file
            missing = {name for file in files.values() for name in file.dependency if name not in files}
            questions = [{"file_by_filename": name} for name in sorted(missing)]
        return _build_pool(files)

    def _ask(self, questions: Sequence[Mapping[str, str]]) -> list[Any]:
        import grpc

        requests = [self._messages.ServerReflectionRequest(**question) for question in questions]
        stub = self._channel.stream_stream(
            self._paths[0],
            request_serializer=self._messages.ServerReflectionRequest.SerializeToString,
            response_deserializer=self._messages.ServerReflectionResponse.FromString,
        )
        try:
            return list(stub(iter(requests), timeout=self._timeout, metadata=tuple(self._metadata)))
        except grpc.RpcError as error:
            status: Any = error
            if status.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
        if len(self._paths) == 1:
            raise NotCalledError(
                Problem(
                    code="call.no_reflection",
                    what="the server has no reflection, so that its methods are not known",
                    fix="say what it serves: --descriptor service.pb",
                )
            ) from None
        del self._paths[0]
        return self._ask(questions)


def _fall_back(question: Mapping[str, str], response: Any) -> list[bytes]:
    # Some servers have no descriptors for protobuf's own files.
    name = question.get("file_by_filename", "")
    if name.startswith("google/protobuf/"):
        module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        return [module.DESCRIPTOR.serialized_pb]
    asked = next(iter(question.values()))
    raise NotCalledError(
        Problem(
            code="call.bad_reflection",
            what=f"the server's reflection does not know {asked}",
            why=response.error_response.error_message,
            fix="say what it serves: --descriptor service.pb",
        )
    )


def _build_pool(files: Mapping[str, FileDescriptorProto]) -> DescriptorPool:
    pool, added = DescriptorPool(), set[str]()

    def add(name: str) -> None:
        if name not in added:
            added.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            pool.Add(files[name])

    for name in files:
        add(name)
    return pool
