"""The settings of a PostgreSQL database, and the rule by which they go together with a DSN."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import validators

from toolkit.plugins import DevServer, SettingError, setting
from toolkit.plugins.postgres_gorm.dsn import read_dsn

__all__ = ["PostgresSettings", "address", "dev_settings", "resolve"]

_positive = validators.gt(0)


@attrs.frozen(kw_only=True)
class PostgresSettings:
    """What the environment says of one PostgreSQL database."""

    dsn: str = setting(
        "",
        help="Complete address, postgresql://user:password@host:port/database?sslmode=…, each part URL-encoded.",
        secret=True,
    )
    host: str = setting("127.0.0.1", help="Host to connect to, or the directory of a Unix socket.")
    port: int = setting(5432, help="Port to connect to.", validator=[validators.ge(1), validators.le(65535)])
    database: str = setting("", help="Database to use; default: the one that is called like the user.")
    username: str = setting("postgres", help="User to connect as.")
    password: str = setting("", help="The user's password.", secret=True)
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = setting(
        "prefer", help="Whether the connection is encrypted and the server verified, as libpq defines it."
    )
    sslrootcert: str = setting("", help="PEM file of the authorities by which verify-ca and verify-full verify.")
    timezone: str = setting("", help="Time zone of every session; default: the server's.")
    application_name: str = setting("", help="How the connections are called in pg_stat_activity.")
    debug: Literal["off", "error", "warn", "info", "true", "false", "1", "0"] = setting(
        "off",
        help="Log SQL without its parameters: error those statements that fail, warn also slow ones, info or true all.",
    )
    pool_size: int = setting(10, help="Connections that are kept open.", validator=validators.ge(1))
    max_overflow: int = setting(
        10, help="Connections beyond POOL_SIZE under load, closed after use.", validator=validators.ge(0)
    )
    pool_timeout: float = setting(
        5.0, help="How long to wait for a connection while all are in use.", unit="seconds", validator=_positive
    )
    pool_recycle: float = setting(
        1800.0, help="Age at which a connection is replaced; 0: never.", unit="seconds", validator=validators.ge(0)
    )
    connect_timeout: float = setting(
        3.0,
        help="How long a new connection may take to open, and one that was idle to answer.",
        unit="seconds",
        validator=_positive,
    )
    command_timeout: float = setting(
        30.0, help="How long to wait for the answer to one statement.", unit="seconds", validator=_positive
    )
    statement_timeout: float = setting(
        0.0,
        help="When the server itself ends a statement; 0: as it is configured.",
        unit="seconds",
        validator=validators.ge(0),
    )


#: Of a DSN only these may be shown.
_SHOWN = ("host", "port")


def resolve(settings: PostgresSettings, given: frozenset[str]) -> PostgresSettings:
    """Fill in what the DSN says, and the database where nothing says it.

    Raises:
        SettingError: the DSN cannot be read, or a separate setting contradicts it.
    """
    if settings.dsn:
        found = read_dsn(settings.dsn)
        given = frozenset(name.lower() for name in given)
        contradicting = [name for name in found if name in given and getattr(settings, name) != found[name]]
        if contradicting:
            raise _contradiction(settings, contradicting, found)
        settings = attrs.evolve(settings, **found)
    return attrs.evolve(settings, database=settings.database or settings.username)


def _contradiction(settings: PostgresSettings, names: list[str], found: dict[str, Any]) -> SettingError:
    first, *others = names
    if first in _SHOWN:
        what = f"is {getattr(settings, first)!r}, but DSN says {found[first]!r}"
    else:
        what = f"differs from the {first} that DSN gives"
    if others:
        what += f"; so do {' and '.join(name.upper() for name in others)}"
    return SettingError(first.upper(), what, fix=f"give DSN alone, or take the {first} out of it")


def address(settings: PostgresSettings) -> str:
    """``host:port/database``, without anything secret."""
    resolved = resolve(settings, frozenset())
    host = f"[{resolved.host}]" if ":" in resolved.host else resolved.host
    return f"{host}:{resolved.port}/{resolved.database}"


def dev_settings(server: DevServer) -> dict[str, str]:
    """The settings that lead to a development server, which speaks no TLS."""
    return {
        "HOST": server.host,
        "PORT": str(server.port),
        "DATABASE": server.database,
        "USERNAME": server.username,
        "PASSWORD": server.password,
        "SSLMODE": "disable",
    }
