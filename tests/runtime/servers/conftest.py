"""An echo service on a real gRPC server; each test brings the handlers it needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import grpc_tools  # type: ignore[import-untyped]  # it has no stubs
import pytest
import uvloop
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_tools import protoc

from toolkit.errors import Abort, Code
from toolkit.manifest import Cardinality, Manifest, MethodDeclaration, read_manifest
from toolkit.runtime.call import Context
from toolkit.runtime.dispatch import Codec
from toolkit.runtime.health import Health
from toolkit.runtime.servers.grpc import GrpcServer, GrpcServerSettings

_PROTOS = {
    "echo/v1/types.proto": """
        syntax = "proto2";
        package echo.v1;
        import "google/protobuf/timestamp.proto";
        message Text {
          optional string text = 1;
          optional google.protobuf.Timestamp at = 2;
          repeated int32 marks = 3;
          extensions 100 to 200;
        }
    """,
    "echo/v1/echo.proto": """
        syntax = "proto2";
        package echo.v1;
        import "google/protobuf/descriptor.proto";
        import "echo/v1/types.proto";
        extend google.protobuf.MethodOptions { optional string note = 51234; }
        extend Text { optional string language = 101; optional bool loud = 100; }
        service Echo {
          rpc Say(Text) returns (Text) { option (note) = "heard once"; }
          rpc Repeat(Text) returns (stream Text);
          rpc Collect(stream Text) returns (Text);
          rpc Chat(stream Text) returns (stream Text);
        }
    """,
}


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on both event loops under which a service may run."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def echo_proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``echo.proto``, in a folder that holds its imports too."""
    root = tmp_path_factory.mktemp("echo")
    for name, text in _PROTOS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "echo/v1/echo.proto"


@pytest.fixture(scope="session")
def echo_set(echo_proto: Path) -> bytes:
    """The echo service's descriptor set."""
    root = echo_proto.parents[2]
    out = root / "echo.pb"
    includes = [f"-I{root}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    assert protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={out}", str(echo_proto)]) == 0
    return out.read_bytes()


@pytest.fixture(scope="session")
def manifest(echo_set: bytes) -> Manifest:
    return read_manifest(echo_set)


@attrs.frozen(kw_only=True)
class EchoEndpoint:
    """A method with a plain function as its handler: dispatch without injection."""

    declaration: MethodDeclaration
    request_class: Any
    reply_class: Any
    handler: Callable[[Any, Context], Any]

    def serve(self, codec: Codec) -> Callable[[Context], Any]:
        """What dispatch gives to a server."""

        def decode(data: bytes) -> Any:
            try:
                return codec.decode(data)
            except DecodeError:
                raise Abort(Code.INVALID_ARGUMENT, "the request cannot be decoded") from None

        async def decode_all(stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for data in stream:
                yield decode(data)

        streams = self.declaration.cardinality.client_streaming

        def begin(context: Context) -> Any:
            request: Any = context.request
            context.request = decode_all(request) if streams else decode(request)
            return self.handler(context.request, context)

        async def reply_once(context: Context) -> Any:
            return codec.encode(await begin(context))

        async def reply_often(context: Context) -> AsyncIterator[Any]:
            replies = begin(context)
            try:
                async for reply in replies:
                    yield codec.encode(reply)
            finally:
                await replies.aclose()

        return reply_often if self.declaration.cardinality.server_streaming else reply_once


@attrs.frozen(kw_only=True)
class Served:
    """A running server and a channel to it."""

    server: GrpcServer
    health: Health
    channel: aio.Channel
    manifest: Manifest

    def method(self, name: str) -> Any:
        """The client's side of a method of the echo service."""
        service = self.manifest.served[0]
        declaration = service.method(name)
        assert declaration is not None
        make = {
            Cardinality.UNARY_UNARY: self.channel.unary_unary,
            Cardinality.UNARY_STREAM: self.channel.unary_stream,
            Cardinality.STREAM_UNARY: self.channel.stream_unary,
            Cardinality.STREAM_STREAM: self.channel.stream_stream,
        }[declaration.cardinality]
        request_class: Any = self.manifest.message(declaration.input_type)
        reply_class: Any = self.manifest.message(declaration.output_type)
        return make(
            declaration.path,
            request_serializer=request_class.SerializeToString,
            response_deserializer=reply_class.FromString,
        )


Serve = Callable[..., Awaitable[Served]]


def server_settings(**changes: Any) -> GrpcServerSettings:
    """Settings for a server on a free port of the loopback."""
    values = {
        "listen": "127.0.0.1",
        "port": 0,
        "max_receive_message_size": 1 << 20,
        "max_send_message_size": 1 << 20,
        "max_concurrent_calls": 100,
        "port_variable": "ECHO_GRPC_SERVER_PORT",
        **changes,
    }
    return GrpcServerSettings(**values)


@pytest.fixture
async def serve(manifest: Manifest) -> AsyncIterator[Serve]:
    """Start a server with these handlers by method name; it is stopped after the test."""
    started: list[Served] = []

    async def start(handlers: Mapping[str, Callable[[Any, Context], Any]] | None = None, **settings: Any) -> Served:
        endpoints: Any = {
            method.path: EchoEndpoint(
                declaration=method,
                request_class=manifest.message(method.input_type),
                reply_class=manifest.message(method.output_type),
                handler=(handlers or {})[method.name],
            )
            for method in manifest.methods()
            if method.name in (handlers or {})
        }
        health = Health([service.full_name for service in manifest.served])
        server = GrpcServer(server_settings(**settings), manifest, endpoints, health)
        await server.start()
        # By default channels to one address share a connection, also one to a server that has just stopped.
        channel = aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        served = Served(server=server, health=health, channel=channel, manifest=manifest)
        started.append(served)
        return served

    yield start
    for served in started:
        await served.channel.close()
        await served.server.stop(0)
    # The engine has one poller for all loops: what is left under way would report to a
    # loop that is closed by then, in the middle of the next test.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=5)


@pytest.fixture
def text(manifest: Manifest) -> Callable[[str], Any]:
    """Make a ``echo.v1.Text``."""
    text_class: Any = manifest.message("echo.v1.Text")
    return lambda value: text_class(text=value)


@pytest.fixture(autouse=True)
def no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The engine logs nothing of its own, whatever becomes of the calls."""
    yield
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    noise = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    # Of a loop of another test file that was closed too early.
    assert [message for message in noise if "PollerCompletionQueue._handle_events" not in message] == []


async def wait_until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """Wait until ``condition()`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait for a condition that can be observed."""
    return wait_until
