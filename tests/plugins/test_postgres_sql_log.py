"""``DEBUG``: which statements are logged, and what never is."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

import pytest
from sqlalchemy import exc, text

from toolkit.plugins import DevServer, Host
from toolkit.plugins.postgres_gorm import PostgresSettings, plugin

Settings = Callable[..., PostgresSettings]


class Recording(Host, Protocol):
    events: list[MutableMapping[str, Any]]


async def run(server: DevServer, settings: Settings, host: Host, level: str) -> None:
    async with plugin.open(settings(server, debug=level), host) as database, database.sessionmaker() as session:
        await session.execute(text("SELECT CAST(:value AS text) AS quick"), {"value": "s3cret"})
        await session.execute(text("SELECT pg_sleep(0.25), CAST(:value AS text)"), {"value": "s3cret"})
        with pytest.raises(exc.DBAPIError):
            await session.execute(text("SELECT CAST(:value AS integer)"), {"value": "s3cret"})
        await session.rollback()
        with pytest.raises(exc.DBAPIError):
            await session.execute(text("SELECT CAST(CAST(:value AS text) AS integer)"), {"value": "s3cret"})


def kinds(host: Recording) -> list[tuple[str, str]]:
    return [(event["level"], event["event"]) for event in host.events]


SLOW = ("warning", "toolkit.sql_was_slow")
FAILED = ("error", "toolkit.sql_failed")


@pytest.mark.parametrize("level", ["off", "false", "0"])
async def test_off_logs_nothing(
    postgres_database: DevServer, postgres_settings: Settings, host: Recording, level: str
) -> None:
    """Without DEBUG no statement is logged."""
    await run(postgres_database, postgres_settings, host, level)
    assert host.events == []


async def test_error_logs_what_fails(
    postgres_database: DevServer, postgres_settings: Settings, host: Recording
) -> None:
    """At the level error only statements that failed are logged, with the server's code for it."""
    await run(postgres_database, postgres_settings, host, "error")
    assert kinds(host) == [FAILED, FAILED]
    assert host.events[1] == {
        "event": "toolkit.sql_failed",
        "level": "error",
        "statement": "SELECT CAST(CAST($1 AS text) AS integer)",
        "error": "InvalidTextRepresentationError",
        "sqlstate": "22P02",
    }


async def test_warn_logs_also_what_is_slow(
    postgres_database: DevServer, postgres_settings: Settings, host: Recording
) -> None:
    """At the level warn statements that took 0.2 s or more are logged too."""
    await run(postgres_database, postgres_settings, host, "warn")
    assert kinds(host) == [SLOW, FAILED, FAILED]
    assert host.events[0]["duration_ms"] >= 200


@pytest.mark.parametrize("level", ["info", "true", "1"])
async def test_info_logs_all_without_values(
    postgres_database: DevServer, postgres_settings: Settings, host: Recording, level: str
) -> None:
    """At the level info every statement is logged, and the value of a parameter in none of them."""
    await run(postgres_database, postgres_settings, host, level)
    assert kinds(host)[-4:] == [("info", "toolkit.sql_executed"), SLOW, FAILED, FAILED]
    executed = host.events[-4]
    assert executed["statement"] == "SELECT CAST($1 AS text) AS quick"
    assert executed["rows"] == 1
    assert "s3cret" not in str(host.events)
