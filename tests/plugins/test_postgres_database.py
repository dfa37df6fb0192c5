"""The PostgreSQL plugin on a real server that is well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]
import pytest
from sqlalchemy import exc, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from toolkit.plugins import DevServer, Host, PerCall
from toolkit.plugins.postgres_gorm import Database, PoolFigures, PostgresSettings, plugin

Settings = Callable[..., PostgresSettings]
PASSWORD = "p@ss/w:rd?#% +é&="


class Model(DeclarativeBase):
    pass


class User(Model):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


@asynccontextmanager
async def call_view(database: Database, wanted: type, *, fail: bool = False) -> AsyncIterator[Any]:
    """What the runtime does with a view that belongs to a call."""
    view = plugin.provides[wanted]
    assert isinstance(view, PerCall)
    opened = view.open(database)
    value = await opened if asyncio.iscoroutine(opened) else opened
    try:
        yield value
        if view.in_use(value) and not fail:
            await view.commit(value)
    finally:
        await view.close(value)


async def names(database: Database) -> list[str]:
    async with database.sessionmaker() as session:
        return list(await session.scalars(select(User.name).order_by(User.id)))


@pytest.fixture
async def database(postgres_database: DevServer, postgres_settings: Settings, host: Host) -> AsyncIterator[Database]:
    settings = postgres_settings(postgres_database, pool_size=2, max_overflow=1, pool_timeout=0.05)
    async with plugin.open(settings, host) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Model.metadata.create_all)
        yield database


async def test_open_needs_no_network(host: Host) -> None:
    """The plugin opens and closes without a server; only its check fails."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with plugin.open(PostgresSettings(port=port), host) as database:
            assert database.pool == PoolFigures(in_use=0, idle=0, limit=20)
            with pytest.raises(ConnectionRefusedError):
                await plugin.check(database)


async def test_check_passes(database: Database) -> None:
    """The check passes on a server that answers, again and again, and takes nothing from the pool."""
    before = database.pool
    await plugin.check(database)
    await plugin.check(database)
    assert database.pool == before


async def test_views_are_those_of_the_resource(database: Database) -> None:
    """The singleton views are the resource itself, its engine and its sessionmaker."""
    views: dict[type, Any] = dict(plugin.provides)
    assert views[Database](database) is database
    assert views[AsyncEngine](database) is database.engine
    assert views[async_sessionmaker](database) is database.sessionmaker
    assert views[AsyncSession].conflicts == {AsyncConnection}
    assert views[AsyncConnection].conflicts == {AsyncSession}


async def test_session_of_a_call_is_committed(database: Database) -> None:
    """What a call wrote through its session is there after the call."""
    async with call_view(database, AsyncSession) as session:
        session.add(User(name="ada"))
    assert await names(database) == ["ada"]


async def test_session_of_a_failed_call_is_rolled_back(database: Database) -> None:
    """What a call wrote before it failed is not there."""
    async with call_view(database, AsyncSession, fail=True) as session:
        session.add(User(name="ada"))
        await session.flush()
    assert await names(database) == []
    assert database.pool.in_use == 0


async def test_explicit_commit_is_honoured(database: Database) -> None:
    """What a handler commits itself stays, also when it fails later, and objects stay readable."""
    async with call_view(database, AsyncSession, fail=True) as session:
        user = User(name="ada")
        session.add(user)
        await session.commit()
        assert user.id == 1
        session.add(User(name="bob"))
        await session.flush()
    assert await names(database) == ["ada"]


async def test_failing_commit_is_raised(database: Database) -> None:
    """A commit that the server refuses is the call's error, and no value of a row is in its text."""
    async with call_view(database, AsyncSession) as session:
        session.add(User(name="s3cret"))
    with pytest.raises(exc.IntegrityError) as caught:
        async with call_view(database, AsyncSession) as session:
            session.add(User(name="s3cret"))
    assert "[SQL parameters hidden due to hide_parameters=True]" in str(caught.value)
    assert database.pool.in_use == 0


async def test_unused_session_is_not_in_use(database: Database) -> None:
    """A session counts as used from the first statement or added object, and takes no connection before."""
    view = plugin.provides[AsyncSession]
    assert isinstance(view, PerCall)
    async with call_view(database, AsyncSession) as session:
        assert not view.in_use(session)
        assert database.pool.in_use == 0
        await session.execute(text("SELECT 1"))
        assert view.in_use(session)
        assert database.pool.in_use == 1
    async with call_view(database, AsyncSession) as session:
        session.add(User(name="ada"))
        assert view.in_use(session)


async def test_connection_of_a_call(database: Database) -> None:
    """A call's connection is committed when the call ends well and rolled back when it fails."""
    insert = text("INSERT INTO users (name) VALUES (:name)")
    async with call_view(database, AsyncConnection) as connection:
        await connection.execute(insert, {"name": "ada"})
    async with call_view(database, AsyncConnection, fail=True) as connection:
        await connection.execute(insert, {"name": "bob"})
    async with call_view(database, AsyncConnection):
        pass
    assert await names(database) == ["ada"]
    assert database.pool.in_use == 0


async def test_exhausted_pool_names_the_settings(database: Database) -> None:
    """Whoever waits in vain for a connection is told which settings bound the pool; the check still passes."""
    sessions = [database.sessionmaker() for _ in range(3)]
    for session in sessions:
        await session.execute(text("SELECT 1"))
    assert database.pool == PoolFigures(in_use=3, idle=0, limit=3)
    with pytest.raises(exc.TimeoutError) as caught:
        await database.sessionmaker().execute(text("SELECT 1"))
    assert str(caught.value) == (
        "all 3 connections of the pool are in use, and none became free within POOL_TIMEOUT (0.05 s);"
        " POOL_SIZE is 2, MAX_OVERFLOW is 1"
    )
    await plugin.check(database)
    for session in sessions:
        await session.close()
    assert database.pool == PoolFigures(in_use=0, idle=2, limit=3)


async def test_two_instances_are_apart(
    database: Database, postgres_server: Any, postgres_settings: Settings, host: Host
) -> None:
    """Two instances of the plugin use two databases of one server at the same time."""
    other = await postgres_server.create_database("second_instance")
    async with plugin.open(postgres_settings(other), host) as second:
        async with second.engine.begin() as connection:
            await connection.run_sync(Model.metadata.create_all)
        async with call_view(database, AsyncSession) as first_session, call_view(second, AsyncSession) as session:
            first_session.add(User(name="ada"))
            session.add(User(name="bob"))
        assert await names(database) == ["ada"]
        assert await names(second) == ["bob"]
    await postgres_server.drop_database("second_instance")


async def test_closing_leaves_no_connection(
    postgres_database: DevServer, postgres_settings: Settings, host: Host
) -> None:
    """After the plugin is closed the server has none of its connections, not even one left in use."""
    settings = postgres_settings(postgres_database, application_name="closing")
    async with plugin.open(settings, host) as database:
        await plugin.check(database)
        abandoned = database.sessionmaker()
        await abandoned.execute(text("SELECT 1"))
        async with database.sessionmaker() as session:
            await session.execute(text("SELECT 1"))
    observer = await connect(postgres_database)
    try:
        async with asyncio.timeout(5):
            while await observer.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'"):
                await asyncio.sleep(0.01)
    finally:
        await observer.close()
        view = plugin.provides[AsyncSession]
        assert isinstance(view, PerCall)
        await view.close(abandoned)


@pytest.mark.parametrize("wanted", [AsyncSession, AsyncConnection])
async def test_closing_a_view_that_lost_its_connection(
    database: Database, postgres_database: DevServer, wanted: type
) -> None:
    """When the server ends a connection in the midst of a call, closing the view raises nothing and frees its place."""
    observer = await connect(postgres_database)
    async with call_view(database, wanted, fail=True) as session:
        pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar()
        assert await observer.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await observer.close()
    assert database.pool.in_use == 0
    assert await names(database) == []


async def test_session_settings_reach_the_server(
    postgres_database: DevServer, postgres_settings: Settings, host: Host
) -> None:
    """TIMEZONE, APPLICATION_NAME and STATEMENT_TIMEOUT are those of every session."""
    settings = postgres_settings(
        postgres_database, timezone="Asia/Tokyo", application_name="shop", statement_timeout=12.5
    )
    async with plugin.open(settings, host) as database, database.sessionmaker() as session:
        shown = [
            await session.scalar(text(f"SELECT current_setting('{name}')"))
            for name in ("timezone", "application_name", "statement_timeout")
        ]
    assert shown == ["Asia/Tokyo", "shop", "12500ms"]


async def test_command_timeout_ends_a_statement(
    postgres_database: DevServer, postgres_settings: Settings, host: Host
) -> None:
    """A statement that takes longer than COMMAND_TIMEOUT fails, and its connection is usable again."""
    settings = postgres_settings(postgres_database, command_timeout=0.2, pool_size=1, max_overflow=0)
    async with plugin.open(settings, host) as database:
        with pytest.raises(TimeoutError):
            async with database.sessionmaker() as session:
                await session.execute(text("SELECT pg_sleep(20)"))
        async with database.sessionmaker() as session:
            assert await session.scalar(text("SELECT 7")) == 7


@pytest.mark.parametrize("by_dsn", [False, True])
async def test_any_password_works(
    postgres_database: DevServer, postgres_settings: Settings, host: Host, by_dsn: bool
) -> None:
    """A password may hold any character, in its own variable as it is, in a DSN URL-encoded."""
    user = f'o"dd {by_dsn}'
    await create_role(postgres_database, user, PASSWORD)
    if by_dsn:
        dsn = (
            f"postgres://{quote(user, safe='')}:{quote(PASSWORD, safe='')}"
            f"@{postgres_database.host}:{postgres_database.port}/{postgres_database.database}?sslmode=disable"
        )
        assert plugin.resolve is not None
        settings = plugin.resolve(PostgresSettings(dsn=dsn), frozenset({"dsn"}))
    else:
        settings = postgres_settings(postgres_database, username=user, password=PASSWORD)
    async with plugin.open(settings, host) as database:
        await plugin.check(database)
        async with database.sessionmaker() as session:
            assert await session.scalar(text("SELECT current_user")) == user


async def test_wrong_password_is_reported_without_it(
    postgres_database: DevServer, postgres_settings: Settings, host: Host
) -> None:
    """A refused password fails the check, with the user's name and without the password."""
    async with plugin.open(postgres_settings(postgres_database, password="s3cret"), host) as database:
        with pytest.raises(asyncpg.InvalidPasswordError) as caught:
            await plugin.check(database)
    assert str(caught.value) == 'password authentication failed for user "toolkit"'


async def test_secrets_are_in_no_repr(postgres_database: DevServer, postgres_settings: Settings, host: Host) -> None:
    """No object that a handler is given shows the password."""
    async with plugin.open(postgres_settings(postgres_database), host) as database, database.engine.connect() as view:
        shown = f"{database!r} {database.engine!r} {database.sessionmaker!r} {view!r} {database.engine.url}"
    assert postgres_database.password not in shown
    assert f"{postgres_database.host}:{postgres_database.port}" in shown


async def test_variables_of_libpq_have_no_say(
    postgres_database: DevServer, postgres_settings: Settings, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared settings alone decide where a connection leads, whatever PG* variables are set."""
    for name, value in {
        "PGHOST": "nowhere.invalid",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGDATABASE": "nothing",
        "PGSSLMODE": "verify-full",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)
    async with plugin.open(postgres_settings(postgres_database), host) as database:
        await plugin.check(database)
        async with database.sessionmaker() as session:
            assert await session.scalar(text("SELECT current_database()")) == postgres_database.database


async def connect(server: DevServer) -> Any:
    return await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=server.username,
        password=server.password,
        database=server.database,
        ssl=False,
    )


async def create_role(server: DevServer, name: str, password: str) -> None:
    connection = await connect(server)
    try:
        create = "SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
        await connection.execute(await connection.fetchval(create, name, password))
    finally:
        await connection.close()
