"""The servers behind ``--dev``: which are started, and how each prefix is led to its own database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from redis.asyncio import Redis

from toolkit.devservices import Server, ServerStarted, open_dev_servers
from toolkit.devservices import redis as redis_module
from toolkit.devservices.postgres import PostgresServer
from toolkit.devservices.redis import RedisServer
from toolkit.errors import StartupError
from toolkit.plugins import DevNeed, DevServer
from toolkit.plugins.postgres_gorm import plugin as postgres
from toolkit.plugins.redis import plugin as redis


def need_of(plugin: Any) -> DevNeed:
    need = plugin.dev
    assert isinstance(need, DevNeed)
    return need


async def test_each_prefix_has_its_own_database() -> None:
    """One server of each kind is shared, and the settings of each prefix lead to a database of its own."""
    needs = {"db": need_of(postgres), "audit": need_of(postgres), "cache": need_of(redis), "Sessions": need_of(redis)}
    started: list[ServerStarted] = []
    async with open_dev_servers(needs, on_started=started.append) as settings:
        assert list(settings) == list(needs)
        assert settings["db"]["DATABASE"] == "db"
        assert settings["audit"]["DATABASE"] == "audit"
        assert settings["db"]["PORT"] == settings["audit"]["PORT"]
        assert settings["cache"]["PORT"] == settings["Sessions"]["PORT"]
        assert settings["cache"]["DATABASE"] != settings["Sessions"]["DATABASE"]
        for prefix in ("db", "audit"):
            assert await current_database(settings[prefix]) == prefix
        cache = Redis(
            host=settings["cache"]["HOST"],
            port=int(settings["cache"]["PORT"]),
            password=settings["cache"]["PASSWORD"],
            db=int(settings["cache"]["DATABASE"]),
        )
        assert await cache.ping()
        await cache.aclose()
    by_kind = {event.kind: event for event in started}
    assert by_kind["postgres"].databases == {"db": "db", "audit": "audit"}
    assert by_kind["redis"].databases == {"cache": "0", "Sessions": "1"}
    assert by_kind["postgres"].port == int(settings["db"]["PORT"])
    assert Path(by_kind["postgres"].binary).name == "postgres"
    assert settings["db"]["PASSWORD"] not in repr(started)


async def test_nothing_needed_starts_nothing() -> None:
    """Without a need no server is looked for."""
    started: list[ServerStarted] = []
    async with open_dev_servers({}, on_started=started.append) as settings:
        assert settings == {}
    assert started == []


async def test_unknown_kind_names_the_known_ones() -> None:
    """A plugin that needs a server of another kind is told which kinds there are, and nothing is started."""
    need = DevNeed(server="mongo", addressed_by=("dsn",), settings=lambda _server: {})
    with pytest.raises(StartupError) as caught:
        async with open_dev_servers({"docs": need, "files": need, "cache": need_of(redis)}):
            raise AssertionError("it started")
    assert str(caught.value) == (
        'plugin "docs", plugin "files": there is no development server of the kind \'mongo\'\n'
        "    the kinds are postgres, redis\n"
        "  → name a server of your own in the environment"
    )
    assert caught.value.problems[0].code == "plugin.dev_server_unknown"


class FailingPostgres(PostgresServer):
    def create_database(self, name: str) -> DevServer:
        self._run_client("createdb", "--no-such-option")
        return super().create_database(name)


async def test_every_failure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers start at the same time, all that fail are reported together, and those that started are ended."""
    made: list[Server] = []

    def make() -> Server:
        made.append(FailingPostgres())
        return made[0]

    monkeypatch.setattr(redis_module, "find_redis", _nothing)
    servers = {"postgres": make, "redis": RedisServer}
    with pytest.raises(StartupError) as caught:
        async with open_dev_servers({"cache": need_of(redis), "db": need_of(postgres)}, servers=servers):
            raise AssertionError("it started")
    missing, failed = caught.value.problems
    assert missing.what == "a development Redis server is needed, and neither Valkey nor Redis was found"
    assert failed.what == "the development PostgreSQL server cannot be used"
    assert "createdb ended with status 1: " in failed.why
    assert made[0]._process is None


def _nothing() -> Sequence[Path]:
    return []


async def current_database(settings: Mapping[str, str]) -> Any:
    connection = await asyncpg.connect(
        host=settings["HOST"],
        port=int(settings["PORT"]),
        user=settings["USERNAME"],
        password=settings["PASSWORD"],
        database=settings["DATABASE"],
        ssl=settings["SSLMODE"],
    )
    try:
        return await connection.fetchval("SELECT current_database()")
    finally:
        await connection.close()
