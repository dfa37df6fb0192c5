"""The standard health service: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from toolkit.errors import Abort, Code
from toolkit.runtime.health import Health, ServingStatus
from toolkit.runtime.servers.grpc_builtin import BuiltinMethods, parse_request
from toolkit.runtime.servers.grpc_call import RequestStream

__all__ = ["HEALTH_SERVICE", "add_health"]

HEALTH_SERVICE = "grpc.health.v1.Health"


def add_health(methods: BuiltinMethods, health: Health) -> None:
    """Serve Check, List and Watch of what ``health`` says."""
    methods.add_unary(f"/{HEALTH_SERVICE}/Check", functools.partial(_check, health))
    methods.add_unary(f"/{HEALTH_SERVICE}/List", functools.partial(_list, health))
    methods.add_stream(f"/{HEALTH_SERVICE}/Watch", functools.partial(_watch, health))


@functools.cache
def _messages() -> Any:
    # Imported by the first check, not by every start.
    from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # it has no stubs

    return health_pb2


def _response(status: ServingStatus) -> Any:
    return _messages().HealthCheckResponse(status=status.value)


async def _check(health: Health, request: bytes) -> bytes:
    service = parse_request(_messages().HealthCheckRequest, request).service
    status = health.status(service)
    if status is ServingStatus.SERVICE_UNKNOWN:
        raise Abort(Code.NOT_FOUND, f"the service {service!r} is not served here")
    data: bytes = _response(status).SerializeToString()
    return data


async def _list(health: Health, request: bytes) -> bytes:
    parse_request(_messages().HealthListRequest, request)
    statuses = {service: _response(status) for service, status in health.statuses().items()}
    data: bytes = _messages().HealthListResponse(statuses=statuses).SerializeToString()
    return data


async def _watch(health: Health, requests: RequestStream) -> AsyncGenerator[bytes, None]:
    async for request in requests:
        service = parse_request(_messages().HealthCheckRequest, request).service
        async with aclosing(health.watch(service)) as statuses:
            async for status in statuses:
                yield _response(status).SerializeToString()
