"""What the plugins' tests share: a host, and the settings that lead to a real server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from toolkit.manifest import Manifest
from toolkit.plugins import DevServer
from toolkit.plugins.postgres_gorm import PostgresSettings
from toolkit.plugins.postgres_gorm import plugin as postgres
from toolkit.plugins.redis import RedisSettings
from toolkit.plugins.redis import plugin as redis

TLS = Path(__file__).parent / "tls"


class RecordingHost:
    """The part of a host that the built-in plugins use; keeps what they log."""

    prefix = "store"

    def __init__(self) -> None:
        self.events: list[MutableMapping[str, Any]] = []
        self.log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    def _keep(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> Any:
        self.events.append({**event, "level": level})
        raise structlog.DropEvent

    @property
    def manifest(self) -> Manifest:
        raise NotImplementedError

    def bind(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        raise NotImplementedError

    def around_call(self, middleware: Callable[..., Awaitable[Any]]) -> None:
        raise NotImplementedError

    def mount(self, path: str, asgi: Callable[..., Awaitable[None]]) -> None:
        raise NotImplementedError

    def on_serving(self, function: Callable[[], Awaitable[None]]) -> None:
        raise NotImplementedError

    def on_draining(self, function: Callable[[], Awaitable[None]]) -> None:
        raise NotImplementedError


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


@pytest.fixture
def postgres_settings() -> Callable[..., PostgresSettings]:
    """Resolved settings that lead to a development server, with changes."""

    def make(server: DevServer, **changes: Any) -> PostgresSettings:
        given = {
            "host": server.host,
            "port": server.port,
            "database": server.database,
            "username": server.username,
            "password": server.password,
            "sslmode": "disable",
            **changes,
        }
        assert postgres.resolve is not None
        return postgres.resolve(PostgresSettings(**given), frozenset(given))

    return make


@pytest.fixture
def redis_settings() -> Callable[..., RedisSettings]:
    """Resolved settings that lead to a development server, with changes."""

    def make(server: DevServer, **changes: Any) -> RedisSettings:
        given = {
            "host": server.host,
            "port": server.port,
            "database": int(server.database),
            "password": server.password,
            **changes,
        }
        assert redis.resolve is not None
        return redis.resolve(RedisSettings(**given), frozenset(given))

    return make


@pytest.fixture
def tls_terminator() -> Callable[..., Any]:
    """A context manager: a port that speaks TLS before a server that does not."""
    return _terminate_tls


@pytest.fixture
def tls_authority() -> str:
    """The PEM file of the authority that signed the terminator's certificate, which is for ``localhost``."""
    return str(TLS / "ca.pem")


@asynccontextmanager
async def _terminate_tls(server: DevServer, *, postgres: bool = False) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_forward(reader, writer, server, context if postgres else None))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # "localhost" may be ::1 first; the certificate names it, so both must be served.
    sockets = [_listen(socket.AF_INET, "127.0.0.1", 0)]
    port = sockets[0].getsockname()[1]
    if socket.has_ipv6:
        with suppress(OSError):
            sockets.append(_listen(socket.AF_INET6, "::1", port))
    servers = [await asyncio.start_server(accept, sock=sock, ssl=None if postgres else context) for sock in sockets]
    try:
        yield port
    finally:
        for listener in servers:
            listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family)
    listener.bind((address, port))
    return listener


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: DevServer, upgrade: ssl.SSLContext | None
) -> None:
    """Pass plain text on to the server; PostgreSQL's clients ask for TLS on an open connection."""
    if upgrade is not None:
        assert await reader.readexactly(8) == struct.pack("!ii", 8, 80877103)
        writer.write(b"S")
        await writer.drain()
        try:
            await writer.start_tls(upgrade)
        except (OSError, ssl.SSLError):
            return
    to_reader, to_writer = await asyncio.open_connection(server.host, server.port)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()

    pumps = {asyncio.create_task(pump(reader, to_writer)), asyncio.create_task(pump(to_reader, writer))}
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        writer.transport.abort()
        to_writer.transport.abort()
