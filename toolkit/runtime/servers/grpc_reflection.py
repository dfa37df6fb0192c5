"""Server reflection, ``grpc.reflection.v1`` and ``v1alpha``, from the manifest's own pool.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. The two versions have
the same messages under two packages, so that the bytes of one are those of the other.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.errors import Code
from toolkit.manifest import Manifest
from toolkit.runtime.servers.grpc_builtin import BuiltinMethods, parse_request
from toolkit.runtime.servers.grpc_call import RequestStream
from toolkit.runtime.servers.grpc_health import HEALTH_SERVICE

__all__ = ["REFLECTION_SERVICES", "add_reflection"]

#: Newest first.
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def add_reflection(methods: BuiltinMethods, manifest: Manifest) -> None:
    """Serve both versions of reflection."""
    served = [service.full_name for service in manifest.served]
    reflection = _Reflection(manifest.pool, (*served, HEALTH_SERVICE, *REFLECTION_SERVICES))
    for service in REFLECTION_SERVICES:
        methods.add_stream(f"/{service}/ServerReflectionInfo", reflection.answer_all)


@functools.cache
def _messages() -> Any:
    # Imported by the first question, not by every start.
    from grpc_reflection.v1alpha import reflection_pb2  # type: ignore[import-untyped]  # it has no stubs

    return reflection_pb2


class _Reflection:
    def __init__(self, pool: DescriptorPool, services: tuple[str, ...]) -> None:
        self._pool = pool
        self._services = tuple(dict.fromkeys(services))

    async def answer_all(self, requests: RequestStream) -> AsyncGenerator[bytes, None]:
        async for data in requests:
            request = parse_request(_messages().ServerReflectionRequest, data)
            response = _messages().ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._answer(request, response)
            yield response.SerializeToString()

    def _answer(self, request: Any, response: Any) -> None:
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._services:
                response.list_services_response.service.add(name=name)
            return
        if asked is None:
            _fail(response, Code.INVALID_ARGUMENT, "the request asks for nothing that this server knows")
            return
        query, value = _QUERIES[asked], getattr(request, asked)
        try:
            try:
                query(self._pool, value, response)
            except KeyError:
                query(_builtin_pool(), value, response)
        except KeyError:
            _fail(response, Code.NOT_FOUND, f"{_describe(value)} is not known here")


def _find_file(pool: DescriptorPool, name: str, response: Any) -> None:
    _add_files(pool.FindFileByName(name), response)


def _find_symbol(pool: DescriptorPool, symbol: str, response: Any) -> None:
    try:
        file = pool.FindFileContainingSymbol(symbol)
    except KeyError:
        # A pool finds no methods by their names, but tools ask for them.
        service_name, _, method = symbol.rpartition(".")
        service = pool.FindServiceByName(service_name)
        file = service.methods_by_name[method].containing_service.file
    _add_files(file, response)


def _find_extension(pool: DescriptorPool, extension: Any, response: Any) -> None:
    extended = pool.FindMessageTypeByName(extension.containing_type)
    found: Any = pool.FindExtensionByNumber(extended, extension.extension_number)
    _add_files(found.file, response)


def _list_extensions(pool: DescriptorPool, extended: str, response: Any) -> None:
    descriptor = pool.FindMessageTypeByName(extended)
    numbers = response.all_extension_numbers_response
    numbers.base_type_name = descriptor.full_name
    numbers.extension_number.extend(sorted(extension.number for extension in pool.FindAllExtensions(descriptor)))


_QUERIES = {
    "file_by_filename": _find_file,
    "file_containing_symbol": _find_symbol,
    "file_containing_extension": _find_extension,
    "all_extension_numbers_of_type": _list_extensions,
}


def _add_files(file: FileDescriptor, response: Any) -> None:
    """Add the file and all that it imports, for most clients do not ask for those one by one."""
    pending, seen = [file], {file.name}
    while pending:
        current = pending.pop(0)
        response.file_descriptor_response.file_descriptor_proto.append(current.serialized_pb)
        new = [imported for imported in current.dependencies if imported.name not in seen]
        seen.update(imported.name for imported in new)
        pending.extend(new)


def _fail(response: Any, code: Code, message: str) -> None:
    response.error_response.error_code = code
    response.error_response.error_message = message


def _describe(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    return f"extension {value.extension_number} of {value.containing_type!r}"


@functools.cache
def _builtin_pool() -> DescriptorPool:
    """What the server serves besides the manifest's services; looked up after the manifest's own pool.

    The files have their canonical names, those under which a client may have them already.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # it has no stubs

    pool = DescriptorPool()
    sources = {
        "grpc/health/v1/health.proto": health_pb2.DESCRIPTOR,
        "grpc/reflection/v1alpha/reflection.proto": _messages().DESCRIPTOR,
        "grpc/reflection/v1/reflection.proto": _messages().DESCRIPTOR,
    }
    for name, source in sources.items():
        file = FileDescriptorProto.FromString(source.serialized_pb)
        file.name = name
        if name == "grpc/reflection/v1/reflection.proto":
            _rename_package(file, "grpc.reflection.v1")
        pool.Add(file)
    return pool


def _rename_package(file: Any, package: str) -> None:
    old, file.package = f".{file.package}.", package
    file.ClearField("options")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, f".{package}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, f".{package}.")
            method.output_type = method.output_type.replace(old, f".{package}.")
