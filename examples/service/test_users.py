"""The service in the test's own process, on real servers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from toolkit import Code
from toolkit.cli.compile import compile_protos
from toolkit.devservices import open_server
from toolkit.plugins import DevServer
from toolkit.testing import TestApp, running_app

HERE = Path(__file__).parent
ADA = {"name": "Ada", "email": "ada@example.com"}


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.syspath_prepend(str(HERE))
    return compile_protos([HERE / "users.proto"])


@pytest.fixture
async def service(manifest: bytes, postgres_database: DevServer, redis_database: DevServer) -> AsyncIterator[TestApp]:
    servers = {"pgsql": postgres_database, "cache": redis_database}
    async with running_app(manifest, servers=servers) as service:
        yield service


async def test_user_is_created_found_and_cached(service: TestApp) -> None:
    """A created user is found by id, is listed, and stands in the cache."""
    created = await service.call("CreateUser", ADA)
    assert (created.name, created.email) == ("Ada", "ada@example.com")
    assert created.created_at.seconds > 0
    assert await service.call("GetUser", {"id": created.id}) == created
    assert await service.call("ListUsers") == [created]
    from redis.asyncio import Redis

    cache = service.app.registry.get("cache", Redis)
    assert await cache.get(f"user:{created.id}") == created.SerializeToString()
    assert 0 < await cache.ttl(f"user:{created.id}") <= 60


async def test_taken_email_is_refused_and_nothing_is_cached(service: TestApp) -> None:
    """An address can be used once; the call that fails leaves no row and no key."""
    await service.call("CreateUser", ADA)
    status = await service.abort("CreateUser", ADA | {"name": "Other"})
    assert (status.code, status.message) == (Code.ALREADY_EXISTS, "this email address is taken")
    assert len(await service.call("ListUsers")) == 1


async def test_bad_requests_are_answered_with_a_status(service: TestApp) -> None:
    """A missing name, and a user that is not there."""
    assert (await service.abort("CreateUser", {"email": "x@y"})).code is Code.INVALID_ARGUMENT
    assert (await service.abort("GetUser", {"id": 99})).message == "there is no user 99"


async def test_cache_away_degrades(manifest: bytes, postgres_database: DevServer) -> None:
    """Without the cache the service starts, works, and says that it is degraded."""
    environ: dict[str, Any] = {"USER_SERVICE_CACHE_HOST": "127.0.0.1", "USER_SERVICE_CACHE_PORT": "1"}
    async with running_app(manifest, servers={"pgsql": postgres_database}, environ=environ) as service:
        created = await service.call("CreateUser", ADA)
        assert await service.call("GetUser", {"id": created.id}) == created
        health = await service.call("HealthCheck")
        assert health.status == "degraded"
        assert dict(health.plugins) == {"pgsql": "healthy", "cache": "unavailable"}


async def test_database_lost_is_unhealthy(manifest: bytes, redis_database: DevServer) -> None:
    """When the database dies, the health check says so, and so does a call."""
    async with open_server("postgres") as server:
        database = await server.create_database("users")
        async with running_app(manifest, servers={"pgsql": database, "cache": redis_database}) as service:
            assert (await service.call("HealthCheck")).status == "healthy"
            await server.kill()
            status = await service.abort("HealthCheck")
            assert (status.code, status.message) == (Code.UNAVAILABLE, "pgsql is unhealthy")
            status = await service.abort("GetUser", {"id": 1})
            assert status.code is Code.INTERNAL
