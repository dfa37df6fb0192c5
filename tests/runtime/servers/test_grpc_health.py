"""grpc.health.v1, asked by the official client's messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # it has no stubs

Serve = Callable[..., Awaitable[Any]]

SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)


def request(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


async def test_check(serve: Serve) -> None:
    """Check answers for a service and for the process as a whole, each with its own status."""
    served = await serve()
    client = health_pb2_grpc.HealthStub(served.channel)
    assert (await client.Check(request(""))).status == NOT_SERVING
    served.health.set("echo.v1.Echo", serving=True)
    assert (await client.Check(request("echo.v1.Echo"))).status == SERVING
    assert (await client.Check(request(""))).status == NOT_SERVING


async def test_check_of_an_unknown_service(serve: Serve) -> None:
    """Check of what is not served ends with NOT_FOUND."""
    served = await serve()
    with pytest.raises(aio.AioRpcError) as caught:
        await health_pb2_grpc.HealthStub(served.channel).Check(request("echo.v1.Ocho"))
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "the service 'echo.v1.Ocho' is not served here",
    )


@pytest.mark.parametrize("method", ["Check", "List"])
async def test_undecodable_check(serve: Serve, method: str) -> None:
    """Bytes that are no request end with INVALID_ARGUMENT."""
    served = await serve()
    with pytest.raises(aio.AioRpcError) as caught:
        await served.channel.unary_unary(f"/grpc.health.v1.Health/{method}")(b"\xff")
    kind = "HealthCheckRequest" if method == "Check" else "HealthListRequest"
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"the request is no grpc.health.v1.{kind}",
    )


async def test_list(serve: Serve) -> None:
    """List gives every service's status."""
    served = await serve()
    served.health.set("", serving=True)
    reply = await health_pb2_grpc.HealthStub(served.channel).List(health_pb2.HealthListRequest())
    assert {name: response.status for name, response in reply.statuses.items()} == {
        "": SERVING,
        "echo.v1.Echo": NOT_SERVING,
    }


async def test_watch(serve: Serve) -> None:
    """Watch gives the status and its changes; draining is one."""
    served = await serve()
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(request("echo.v1.Echo"))
    assert (await watch.read()).status == NOT_SERVING
    served.health.set_all(serving=True)
    assert (await watch.read()).status == SERVING
    served.health.drain()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_watch_of_an_unknown_service(serve: Serve) -> None:
    """Watch of what is not served says SERVICE_UNKNOWN and stays open."""
    served = await serve()
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(request("echo.v1.Ocho"))
    assert (await watch.read()).status == UNKNOWN
    assert not watch.done()
    watch.cancel()
