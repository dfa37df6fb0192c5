"""A manifest that has the health protocol's file itself, as every service that checks others does."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # it has no stubs

from toolkit.manifest import Manifest, read_manifest
from toolkit.runtime.call import Context

Serve = Callable[..., Awaitable[Any]]

GRPCURL = Path(sys.executable).with_name("grpcurl")


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """A service whose messages are those of the health protocol."""
    health = FileDescriptorProto.FromString(health_pb2.DESCRIPTOR.serialized_pb)
    health.name = "vendored/health.proto"
    watcher = FileDescriptorProto(name="watcher.proto", package="watch.v1", syntax="proto3", dependency=[health.name])
    watcher.service.add(name="Watcher").method.add(
        name="Ask",
        input_type=".grpc.health.v1.HealthCheckRequest",
        output_type=".grpc.health.v1.HealthCheckResponse",
    )
    return read_manifest(FileDescriptorSet(file=[health, watcher]).SerializeToString())


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_file_is_known_once(serve: Serve, manifest: Manifest) -> None:
    """Both services are listed, described from the one file, and called."""
    response_class: Any = manifest.message("grpc.health.v1.HealthCheckResponse")

    async def ask(request: Any, _context: Context) -> Any:
        return response_class(status="SERVING" if request.service == "x" else "UNKNOWN")

    served = await serve({"Ask": ask})
    tool, address = [str(GRPCURL), "-plaintext"], served.server.address
    code, listed = await run(*tool, address, "list")
    assert (code, listed.splitlines()[:2]) == (0, ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"])
    assert "watch.v1.Watcher" in listed.splitlines()
    for method, service, status in (
        ("watch.v1.Watcher/Ask", "x", "SERVING"),
        ("grpc.health.v1.Health/Check", "watch.v1.Watcher", "NOT_SERVING"),
    ):
        code, reply = await run(*tool, "-d", json.dumps({"service": service}), address, method)
        assert code == 0, reply
        assert json.loads(reply) == {"status": status}
