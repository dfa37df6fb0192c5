"""How connections to PostgreSQL are opened, kept alive, found dead, and closed."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import URL, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from toolkit.plugins.postgres_gorm.settings import PostgresSettings

__all__ = ["OpenConnections", "Probe", "connect_arguments", "create_engine"]

#: A connection that was in use within so many seconds is taken to be alive; one that the
#: server closed is noticed at once in any case.
_TRUSTED_IDLE = 1.0
#: How long a connection may take to say goodbye when the service stops, in seconds.
_CLOSE_TIMEOUT = 2.0
_RELEASED_AT = "toolkit.released_at"
#: What asyncpg raises of a connection that is gone; the last, when the loss is just being noticed.
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def connect_arguments(settings: PostgresSettings) -> dict[str, Any]:
    """What :func:`asyncpg.connect` is called with.

    All that asyncpg would otherwise look up in ``PG*`` variables and ``~/.pgpass`` is
    given, so that the declared settings alone decide where a connection leads.
    """
    options: dict[str, str] = {"sslmode": settings.sslmode}
    if settings.sslrootcert:
        options["sslrootcert"] = settings.sslrootcert
    server_settings = {"timezone": settings.timezone, "application_name": settings.application_name}
    if settings.statement_timeout:
        server_settings["statement_timeout"] = f"{settings.statement_timeout * 1000:.0f}"
    return {
        # The only way to give asyncpg a root certificate together with a mode.
        "dsn": URL.create("postgresql", query=options).render_as_string(),
        "host": settings.host,
        "port": settings.port,
        "user": settings.username,
        "password": settings.password,
        "database": settings.database,
        "target_session_attrs": "any",
        "timeout": settings.connect_timeout,
        "command_timeout": settings.command_timeout,
        "server_settings": {name: value for name, value in server_settings.items() if value},
    }


class _Pool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, whose error names the settings that bound it."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except exc.TimeoutError:
            limit = self.size() + self._max_overflow
            raise exc.TimeoutError(
                f"all {limit} connections of the pool are in use, and none became free within POOL_TIMEOUT"
                f" ({self.timeout():g} s); POOL_SIZE is {self.size()}, MAX_OVERFLOW is {self._max_overflow}"
            ) from None


class OpenConnections:
    """The driver's connections of one engine, so that none outlives it."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[asyncpg.Connection] = weakref.WeakSet()

    def add(self, connection: asyncpg.Connection) -> None:
        """Take note of a new connection."""
        self._connections.add(connection)

    async def close(self, engine: AsyncEngine) -> None:
        """Close all of them, in good order those that answer, and the engine with them."""
        # All at once and each with a bound, which the engine's own way of closing has not.
        await asyncio.gather(
            *(connection.close(timeout=_CLOSE_TIMEOUT) for connection in self._connections), return_exceptions=True
        )
        await engine.dispose()


def create_engine(settings: PostgresSettings) -> tuple[AsyncEngine, OpenConnections]:
    """An engine that has not connected yet, and the set of connections that it will open."""
    engine = create_async_engine(
        # For show, and for tools that read it; _use_arguments decides.
        URL.create(
            "postgresql+asyncpg",
            username=settings.username,
            password=settings.password or None,
            host=settings.host,
            port=settings.port,
            database=settings.database,
        ),
        poolclass=_Pool,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle or -1,
        # The connections used last are used first: those that a load has left over stay idle.
        pool_use_lifo=True,
        # No parameter's value in an exception's text.
        hide_parameters=True,
    )
    connections = OpenConnections()
    arguments = connect_arguments(settings)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _use_arguments(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters.clear()
        parameters.update(arguments)

    @event.listens_for(engine.sync_engine, "connect")
    def _remember(connection: Any, _record: Any) -> None:
        connections.add(connection.driver_connection)

    @event.listens_for(engine.sync_engine, "checkin")
    def _note_release(_connection: Any, record: Any) -> None:
        record.info[_RELEASED_AT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _find_dead(connection: Any, record: Any, _proxy: Any) -> None:
        # Cheaper than pool_pre_ping, which sends BEGIN, a statement and ROLLBACK before every use.
        driver: asyncpg.Connection = connection.driver_connection
        if driver.is_closed():
            raise exc.DisconnectionError("the server has closed the connection")
        released_at = record.info.get(_RELEASED_AT)
        if released_at is not None and time.monotonic() - released_at > _TRUSTED_IDLE:
            try:
                connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=settings.connect_timeout))
            except _LOST as error:
                # Without a goodbye that nobody hears; the others that old are no better.
                driver.terminate()
                raise exc.InvalidatePoolError("the connection does not answer") from error

    return engine, connections


class Probe:
    """``SELECT 1`` on a connection of its own: a pool that is exhausted is no sick database."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._arguments = connect_arguments(settings)
        self._timeout = settings.connect_timeout
        self._connection: asyncpg.Connection | None = None

    async def __call__(self) -> None:
        """Return once the server has answered, within ``CONNECT_TIMEOUT``."""
        try:
            async with asyncio.timeout(self._timeout):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(**self._arguments)
                await self._connection.execute("SELECT 1")
        except asyncpg.InternalClientError as error:
            self.close()
            raise ConnectionResetError("the server closed the connection") from error
        except TimeoutError as error:
            self.close()
            raise TimeoutError(f"no answer within {self._timeout:g} s") from error
        except BaseException:
            # A connection that did not answer may never do so again, while a new one would.
            self.close()
            raise

    def close(self) -> None:
        """Cut the connection off; the next check opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
