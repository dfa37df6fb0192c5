"""Reflection: both versions by their messages, then the tools that people really use."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc_requests  # type: ignore[import-untyped]  # it has no stubs
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio
from grpc_reflection.v1alpha.reflection_pb2 import (  # type: ignore[import-untyped]  # it has no stubs
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from toolkit.runtime.call import Context

Serve = Callable[..., Awaitable[Any]]
Text = Callable[[str], Any]

BIN = Path(sys.executable).parent
SERVICES = [
    "echo.v1.Echo",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
]


async def echo(request: Any, _context: Context) -> Any:
    return request


async def ask(channel: aio.Channel, *requests: Any, version: str = "v1") -> list[Any]:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )(iter(requests))
    return [response async for response in call]


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def files_of(response: Any) -> dict[str, Any]:
    files = map(FileDescriptorProto.FromString, response.file_descriptor_response.file_descriptor_proto)
    return {file.name: file for file in files}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_lists_services(serve: Serve, version: str) -> None:
    """Both versions list the served services, health, and reflection itself."""
    served = await serve()
    (response,) = await ask(served.channel, ServerReflectionRequest(host="me", list_services=""), version=version)
    assert [service.name for service in response.list_services_response.service] == SERVICES
    assert response.valid_host == "me"
    assert response.original_request.host == "me"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(
    "symbol",
    ["echo.v1.Echo", "echo.v1.Echo.Say", "echo.v1.note"],
)
async def test_file_containing_symbol(serve: Serve, version: str, symbol: str) -> None:
    """A symbol's file comes first and with all that it imports, so that a pool can be built from the reply."""
    served = await serve()
    (response,) = await ask(served.channel, ServerReflectionRequest(file_containing_symbol=symbol), version=version)
    files = files_of(response)
    assert list(files) == [
        "echo/v1/echo.proto",
        "google/protobuf/descriptor.proto",
        "echo/v1/types.proto",
        "google/protobuf/timestamp.proto",
    ]
    # Custom options come along.
    assert b"heard once" in files["echo/v1/echo.proto"].SerializeToString()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_listed_service_can_be_described(serve: Serve, service: str) -> None:
    """What a client is sent for any listed service builds a pool that has it, with its messages."""
    served = await serve()
    (response,) = await ask(served.channel, ServerReflectionRequest(file_containing_symbol=service))
    pool = DescriptorPool()
    for file in reversed(files_of(response).values()):
        pool.Add(file)
    descriptor = pool.FindServiceByName(service)
    packages = {method.input_type.file.package for method in descriptor.methods}
    assert packages == {service.rpartition(".")[0]}


async def test_file_by_filename(serve: Serve) -> None:
    """Any file of the manifest can be had by its name, and the server's own by their canonical ones."""
    served = await serve()
    names = [
        "echo/v1/types.proto",
        "google/protobuf/descriptor.proto",
        "grpc/health/v1/health.proto",
        "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto",
    ]
    responses = await ask(served.channel, *(ServerReflectionRequest(file_by_filename=name) for name in names))
    assert [next(iter(files_of(response))) for response in responses] == names


async def test_extensions(serve: Serve) -> None:
    """Extensions are found by their number, and their numbers by the type that they extend."""
    served = await serve()
    by_number, numbers = await ask(
        served.channel,
        ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type="echo.v1.Text", extension_number=101)
        ),
        ServerReflectionRequest(all_extension_numbers_of_type="echo.v1.Text"),
    )
    assert next(iter(files_of(by_number))) == "echo/v1/echo.proto"
    assert numbers.all_extension_numbers_response.base_type_name == "echo.v1.Text"
    assert list(numbers.all_extension_numbers_response.extension_number) == [100, 101]


@pytest.mark.parametrize(
    ("request_message", "code", "message"),
    [
        (ServerReflectionRequest(file_by_filename="a.proto"), 5, "'a.proto' is not known here"),
        (ServerReflectionRequest(file_containing_symbol="echo.v1.Ocho"), 5, "'echo.v1.Ocho' is not known here"),
        (ServerReflectionRequest(all_extension_numbers_of_type="a.B"), 5, "'a.B' is not known here"),
        (
            ServerReflectionRequest(
                file_containing_extension=ExtensionRequest(containing_type="echo.v1.Text", extension_number=150)
            ),
            5,
            "extension 150 of 'echo.v1.Text' is not known here",
        ),
        (ServerReflectionRequest(), 3, "the request asks for nothing that this server knows"),
    ],
)
async def test_unknown(serve: Serve, request_message: Any, code: int, message: str) -> None:
    """What is not known is an error in the stream, which goes on."""
    served = await serve()
    first, second = await ask(served.channel, request_message, ServerReflectionRequest(list_services=""))
    assert (first.error_response.error_code, first.error_response.error_message) == (code, message)
    assert first.original_request == request_message
    assert second.list_services_response.service


async def test_undecodable_question(serve: Serve) -> None:
    """Bytes that are no question end with INVALID_ARGUMENT."""
    served = await serve()
    call = served.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(iter([b"\xff"]))
    with pytest.raises(aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_default_pool_is_left_alone(serve: Serve) -> None:
    """The manifest's files are served from its own pool: protobuf's default one never sees them."""
    served = await serve()
    await ask(served.channel, ServerReflectionRequest(file_containing_symbol="echo.v1.Echo"))
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("echo/v1/echo.proto")


async def test_grpcurl(serve: Serve) -> None:
    """grpcurl lists, describes, calls and checks health with nothing but the address."""
    served = await serve({"Say": echo})
    served.health.set("echo.v1.Echo", serving=True)
    tool, address = [str(BIN / "grpcurl"), "-plaintext"], served.server.address
    assert await run(*tool, address, "list") == (0, "".join(f"{service}\n" for service in SERVICES))
    assert await run(*tool, address, "list", "echo.v1.Echo") == (
        0,
        "".join(f"echo.v1.Echo.{method}\n" for method in ("Chat", "Collect", "Repeat", "Say")),
    )
    code, described = await run(*tool, address, "describe", "echo.v1.Echo.Say")
    assert code == 0, described
    assert "rpc Say ( .echo.v1.Text ) returns ( .echo.v1.Text )" in described
    assert 'note) = "heard once"' in described
    code, reply = await run(*tool, "-d", '{"text": "hello", "[echo.v1.loud]": true}', address, "echo.v1.Echo/Say")
    assert code == 0, reply
    assert json.loads(reply) == {"text": "hello", "[echo.v1.loud]": True}
    code, reply = await run(*tool, "-d", '{"service": "echo.v1.Echo"}', address, "grpc.health.v1.Health/Check")
    assert (code, json.loads(reply)) == (0, {"status": "SERVING"})


async def test_buf_curl(serve: Serve) -> None:
    """buf, which asks for v1, lists and calls with nothing but the address."""
    served = await serve({"Say": echo})
    tool = [str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", "grpc-v1"]
    url = f"http://{served.server.address}"
    code, listed = await run(*tool, "--list-methods", url)
    assert code == 0, listed
    assert "echo.v1.Echo/Chat" in listed.splitlines()
    code, reply = await run(*tool, "-d", '{"text": "hello"}', f"{url}/echo.v1.Echo/Say")
    assert (code, json.loads(reply)) == (0, {"text": "hello"})


async def test_grpc_requests(serve: Serve, text: Text) -> None:
    """grpc-requests calls by names alone."""

    async def repeat(request: Any, _context: Context) -> Any:
        yield request
        yield request

    served = await serve({"Say": echo, "Repeat": repeat})

    def call() -> tuple[Any, Any]:
        with grpc.insecure_channel(served.server.address):
            client = grpc_requests.Client.get_by_endpoint(served.server.address)
            try:
                said = client.request("echo.v1.Echo", "Say", {"text": "hello"})
                return said, list(client.request("echo.v1.Echo", "Repeat", {"text": "hey"}))
            finally:
                client.channel.close()

    assert await asyncio.to_thread(call) == ({"text": "hello"}, [{"text": "hey"}, {"text": "hey"}])
