"""TLS of both plugins, through a real handshake before the real servers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from toolkit.plugins import DevServer, Host
from toolkit.plugins.postgres_gorm import PostgresSettings
from toolkit.plugins.postgres_gorm import plugin as postgres
from toolkit.plugins.redis import RedisSettings
from toolkit.plugins.redis import plugin as redis

PostgresMaker = Callable[..., PostgresSettings]
RedisMaker = Callable[..., RedisSettings]
#: The terminator's certificate is for this name, and for no address.
NAME, ADDRESS = "localhost", "127.0.0.1"


@pytest.mark.parametrize(
    ("mode", "host_name"),
    [
        ("prefer", ADDRESS),
        ("require", ADDRESS),
        ("verify-ca", ADDRESS),
        ("verify-full", NAME),
    ],
)
async def test_postgres_connects_over_tls(
    postgres_database: DevServer,
    postgres_settings: PostgresMaker,
    tls_terminator: Callable[..., Any],
    tls_authority: str,
    host: Host,
    mode: str,
    host_name: str,
) -> None:
    """Every SSLMODE that may use TLS connects to a server that it may trust."""
    async with tls_terminator(postgres_database, postgres=True) as port:
        settings = postgres_settings(
            postgres_database,
            host=host_name,
            port=port,
            sslmode=mode,
            sslrootcert=tls_authority if mode.startswith("verify") else "",
        )
        async with postgres.open(settings, host) as database:
            await postgres.check(database)
            async with database.engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                assert driver._protocol.is_ssl


async def test_postgres_verifies_the_name(
    postgres_database: DevServer,
    postgres_settings: PostgresMaker,
    tls_terminator: Callable[..., Any],
    tls_authority: str,
    host: Host,
) -> None:
    """verify-full refuses a certificate that is for another name."""
    async with tls_terminator(postgres_database, postgres=True) as port:
        settings = postgres_settings(
            postgres_database, host=ADDRESS, port=port, sslmode="verify-full", sslrootcert=tls_authority
        )
        async with postgres.open(settings, host) as database:
            with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
                await postgres.check(database)


async def test_postgres_refuses_a_server_without_tls(
    postgres_database: DevServer, postgres_settings: PostgresMaker, host: Host
) -> None:
    """require does not connect to a server that speaks no TLS; prefer and disable do."""
    async with postgres.open(postgres_settings(postgres_database, sslmode="require"), host) as database:
        with pytest.raises(ConnectionError, match="rejected SSL upgrade"):
            await postgres.check(database)
    for mode in ("disable", "allow", "prefer"):
        async with postgres.open(postgres_settings(postgres_database, sslmode=mode), host) as database:
            await postgres.check(database)


async def test_redis_connects_over_tls(
    redis_database: DevServer,
    redis_settings: RedisMaker,
    tls_terminator: Callable[..., Any],
    tls_authority: str,
    host: Host,
) -> None:
    """TLS connects to a server whose certificate and name are verified."""
    async with tls_terminator(redis_database) as port:
        settings = redis_settings(redis_database, host=NAME, port=port, tls=True, tls_ca_file=tls_authority)
        async with redis.open(settings, host) as store:
            await redis.check(store)
            assert await store.client.set("name", "ada") is True


@pytest.mark.parametrize("trusted", [False, True])
async def test_redis_refuses_what_it_cannot_verify(
    redis_database: DevServer,
    redis_settings: RedisMaker,
    tls_terminator: Callable[..., Any],
    tls_authority: str,
    host: Host,
    trusted: bool,
) -> None:
    """TLS refuses an unknown authority, and a certificate that is for another name."""
    async with tls_terminator(redis_database) as port:
        settings = redis_settings(
            redis_database,
            host=ADDRESS if trusted else NAME,
            port=port,
            tls=True,
            tls_ca_file=tls_authority if trusted else "",
        )
        async with redis.open(settings, host) as store:
            with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                await redis.check(store)
