"""The plugin's value."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from toolkit.plugins import DevNeed, PerCall, Plugin
from toolkit.plugins.postgres_gorm.database import (
    Database,
    close_connection,
    close_session,
    commit_connection,
    commit_session,
    open_connection,
    open_database,
    open_session,
)
from toolkit.plugins.postgres_gorm.settings import PostgresSettings, address, dev_settings, resolve

__all__ = ["plugin"]

plugin: Plugin[PostgresSettings, Database] = Plugin(
    name="postgres_gorm",
    config=PostgresSettings,
    open=open_database,
    check=Database.check,
    provides={
        Database: lambda database: database,
        AsyncEngine: lambda database: database.engine,
        async_sessionmaker: lambda database: database.sessionmaker,
        AsyncSession: PerCall(
            open=open_session,
            commit=commit_session,
            close=close_session,
            in_use=AsyncSession.in_transaction,
            conflicts=frozenset({AsyncConnection}),
        ),
        AsyncConnection: PerCall(
            open=open_connection,
            commit=commit_connection,
            close=close_connection,
            conflicts=frozenset({AsyncSession}),
        ),
    },
    resolve=resolve,
    address=address,
    dev=DevNeed(server="postgres", addressed_by=("dsn", "host", "port"), settings=dev_settings),
)
