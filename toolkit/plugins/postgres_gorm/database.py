"""What the plugin gives to handlers: the database, and the views that belong to a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.pool import QueuePool

from toolkit.plugins import Host
from toolkit.plugins.postgres_gorm.connections import Probe, create_engine
from toolkit.plugins.postgres_gorm.settings import PostgresSettings
from toolkit.plugins.postgres_gorm.sql_log import log_sql

__all__ = ["Database", "PoolFigures", "open_database"]


@attrs.frozen(kw_only=True)
class PoolFigures:
    """How a pool is used at this moment; numbers of connections."""

    in_use: int
    idle: int
    #: POOL_SIZE and MAX_OVERFLOW together: as many can be in use at once.
    limit: int


class Database:
    """One PostgreSQL database: its engine, the maker of sessions, and the figures of its pool."""

    def __init__(self, settings: PostgresSettings, engine: AsyncEngine, probe: Probe) -> None:
        self._settings = settings
        self._probe = probe
        self.engine = engine
        #: Sessions outside of calls: ``async with database.sessionmaker() as session, session.begin():``
        self.sessionmaker = async_sessionmaker(
            engine,
            # An object stays readable after a commit: to load it anew would need an await.
            expire_on_commit=False,
        )

    @property
    def pool(self) -> PoolFigures:
        """How the pool is used at this moment."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)  # noqa: S101 -- create_engine made it one
        return PoolFigures(
            in_use=pool.checkedout(),
            idle=pool.checkedin(),
            limit=self._settings.pool_size + self._settings.max_overflow,
        )

    async def check(self) -> None:
        """Return once the server has answered ``SELECT 1``, whatever the pool is doing."""
        await self._probe()

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)!r})"


@asynccontextmanager
async def open_database(settings: PostgresSettings, host: Host) -> AsyncIterator[Database]:
    """A database that connects when it is first used or checked, and is closed with all its connections."""
    engine, connections = create_engine(settings)
    log_sql(engine.sync_engine, settings.debug, host.log)
    probe = Probe(settings)
    try:
        yield Database(settings, engine, probe)
    finally:
        probe.close()
        await connections.close(engine)


def open_session(database: Database) -> AsyncSession:
    """A session for one call; it takes a connection with its first statement."""
    return database.sessionmaker()


async def commit_session(session: AsyncSession) -> None:
    """Commit what the session has not committed itself."""
    if session.in_transaction():
        await session.commit()


async def close_session(session: AsyncSession) -> None:
    """Roll back what was not committed, and give the connection back; a dead one has nothing to roll back."""
    try:
        await session.close()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise


async def open_connection(database: Database) -> AsyncConnection:
    """A connection for one call; a transaction begins with its first statement."""
    return await database.engine.connect()


async def commit_connection(connection: AsyncConnection) -> None:
    """Commit what the connection has not committed itself."""
    if connection.in_transaction():
        await connection.commit()


async def close_connection(connection: AsyncConnection) -> None:
    """Roll back what was not committed, and give the connection back; a dead one has nothing to roll back."""
    try:
        await connection.close()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
