"""``redis``: redis-py's asyncio client, for Redis and Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import attrs
from attrs import validators
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.maint_notifications import MaintNotificationsConfig

from toolkit.plugins import DevNeed, DevServer, Host, Plugin, SettingError, setting

__all__ = ["PoolFigures", "RedisSettings", "RedisStore", "plugin"]

_positive = validators.gt(0)
_FORM = "redis://user:password@host:port/database"
_ENCODE = "URL-encode what user and password contain: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"


@attrs.frozen(kw_only=True)
class RedisSettings:
    """What the environment says of one Redis or Valkey server.

    Together the defaults let no command wait longer than 3 s: for a connection of the
    pool, to open it, and for the answer.
    """

    dsn: str = setting(
        "",
        help="Complete address, redis://user:password@host:port/database (rediss:// with TLS), each part URL-encoded.",
        secret=True,
    )
    endpoint: str = setting("", help="Address as host:port, in place of HOST and PORT.")
    host: str = setting("127.0.0.1", help="Host to connect to.")
    port: int = setting(6379, help="Port to connect to.", validator=[validators.ge(1), validators.le(65535)])
    database: int = setting(0, help="Number of the database to use.", validator=validators.ge(0))
    username: str = setting("", help="User of the access control list; default: the default user.")
    password: str = setting("", help="The user's password.", secret=True)
    tls: bool = setting(False, help="Encrypt the connection, and verify the server's certificate and name.")
    tls_ca_file: str = setting("", help="PEM file of the authorities to verify by; default: the system's.")
    pool_size: int = setting(50, help="Connections that may be open at once.", validator=validators.ge(1))
    pool_timeout: float = setting(
        0.5, help="How long to wait for a connection while all are in use.", unit="seconds", validator=_positive
    )
    dial_timeout: float = setting(
        1.0, help="How long a new connection may take to open.", unit="seconds", validator=_positive
    )
    read_timeout: float = setting(
        1.5,
        help="How long to send a command, and to wait for its answer; more than a blocking command waits.",
        unit="seconds",
        validator=_positive,
    )
    max_retries: int = setting(
        0,
        help="How often a command is sent again after a connection failed; -1 as 0. A command may then run twice.",
        validator=validators.ge(-1),
    )
    min_retry_backoff: float = setting(
        0.008, help="Pause before the first retry.", unit="seconds", validator=validators.ge(0)
    )
    max_retry_backoff: float = setting(
        0.512, help="Longest pause between retries.", unit="seconds", validator=_positive
    )
    health_check_interval: float = setting(
        30.0,
        help="A connection that was idle for longer is asked before it is used; 0: never.",
        unit="seconds",
        validator=validators.ge(0),
    )


@attrs.frozen(kw_only=True)
class PoolFigures:
    """How a pool is used at this moment; numbers of connections."""

    in_use: int
    idle: int
    #: POOL_SIZE.
    limit: int


class RedisStore:
    """One database of a Redis or Valkey server: its client, and the figures of its pool."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._pool = _make_pool(settings)
        # Of its own, so that a pool that is exhausted is no sick server.
        self._probe: AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        self.client: Redis = Redis.from_pool(self._pool)

    @property
    def pool(self) -> PoolFigures:
        """How the pool is used at this moment."""
        (idle, _), (in_use, _) = self._pool.get_connection_count()
        return PoolFigures(in_use=in_use, idle=idle, limit=self._settings.pool_size)

    async def check(self) -> None:
        """Return once the server has answered ``PING``, whatever the pool is doing."""
        if self._probe.is_connected and await self._probe.can_read():
            # Nothing was asked: it is the end of a connection that the server closed.
            await self._probe.disconnect(nowait=True)
        # Whatever fails or is cancelled on the way disconnects it.
        await self._probe.connect()  # type: ignore[no-untyped-call]
        await self._probe.send_command("PING", check_health=False)
        await self._probe.read_response()

    async def close(self) -> None:
        """Close every connection."""
        await self._probe.disconnect(nowait=True)
        await self.client.aclose()

    def __repr__(self) -> str:
        return f"RedisStore({address(self._settings)!r})"


class _PlainConnection(Connection):
    """A connection that says that it was lost, also where asyncio does not."""

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        # On Python 3.12.1 and 3.13.0 asyncio meets lines for a lost connection with an
        # AttributeError, which is no failed connection to redis-py: nothing tries again.
        if self._writer is not None and self._writer.is_closing():
            raise ConnectionResetError("Connection lost")
        await super()._send_packed_command(command)


def _make_pool(settings: RedisSettings) -> BlockingConnectionPool:
    options: dict[str, Any] = {"connection_class": _PlainConnection}
    if settings.tls:
        options = {"connection_class": SSLConnection, "ssl_ca_certs": settings.tls_ca_file or None}
    retries = max(settings.max_retries, 0)
    return BlockingConnectionPool(
        max_connections=settings.pool_size,
        timeout=settings.pool_timeout,
        host=settings.host,
        port=settings.port,
        db=settings.database,
        username=settings.username or None,
        password=settings.password or None,
        socket_timeout=settings.read_timeout,
        socket_connect_timeout=settings.dial_timeout,
        retry=Retry(ExponentialBackoff(cap=settings.max_retry_backoff, base=settings.min_retry_backoff), retries),
        health_check_interval=settings.health_check_interval,
        # They ask a question more of every new connection, and switch off the pool's test for unread answers.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


@asynccontextmanager
async def open_store(settings: RedisSettings, host: Host) -> AsyncIterator[RedisStore]:
    """A store that connects when it is first used or checked, and is closed with all its connections."""
    store = RedisStore(settings)
    try:
        yield store
    finally:
        await store.close()


def resolve(settings: RedisSettings, given: frozenset[str]) -> RedisSettings:
    """Fill in what DSN and ENDPOINT say.

    Raises:
        SettingError: one of them cannot be read, or contradicts the other or a separate setting.
    """
    given = frozenset(name.lower() for name in given)
    sources: list[tuple[str, Mapping[str, Any]]] = []
    if settings.dsn:
        sources.append(("DSN", _read_dsn(settings.dsn)))
    if settings.endpoint:
        sources.append(("ENDPOINT", _read_endpoint(settings.endpoint)))
    separate = [field.name for field in attrs.fields(RedisSettings) if field.name in given - {"dsn", "endpoint"}]
    sources.append(("", {name: getattr(settings, name) for name in separate}))
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source, values in sources:
        for name, value in values.items():
            if name not in found:
                found[name], origins[name] = value, source
            elif found[name] != value:
                raise _contradiction(source or name.upper(), name, value, origins[name], found[name])
    return attrs.evolve(settings, **found)


def _contradiction(setting_name: str, name: str, value: Any, origin: str, other: Any) -> SettingError:
    # Of a DSN only host and port may be shown.
    if name in ("host", "port"):
        what = f"gives the {name} {value!r}, but {origin} says {other!r}"
    else:
        what = f"differs from the {name} that {origin} gives"
    return SettingError(setting_name, what, fix=f"give {origin} alone, or take the {name} out of it")


def _read_dsn(text: str) -> dict[str, Any]:
    """The settings that a DSN gives; no error repeats any part of it, for a part may be a piece of the password."""
    text = text.strip()
    if not text.startswith(("redis://", "rediss://")):
        _refuse_dsn("does not begin with redis:// or rediss://")
    if text.count("@") > 1:
        # Where the password ends would be a guess.
        _refuse_dsn("has more than one @", fix=_ENCODE)
    if not text.isprintable() or " " in text:
        _refuse_dsn("contains a space or a control character", fix=_ENCODE)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        # It repeats parts of the text.
        _refuse_dsn("cannot be read", fix=f"write it as {_FORM}. {_ENCODE}")
    if port == 0:
        _refuse_dsn("has a port outside of 1 to 65535")
    if url.query or url.fragment:
        _refuse_dsn("has parameters, or a ? or # that is not encoded", fix=f"every parameter has a setting. {_ENCODE}")
    database = url.path.removeprefix("/")
    if database and not (database.isascii() and database.isdecimal() and len(database) < 10):
        _refuse_dsn("has a database that is no number", fix=f"write it as {_FORM}. {_ENCODE}")
    parts = {
        "host": unquote(url.hostname or ""),
        "port": port,
        "database": int(database) if database else None,
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
    }
    return {**{name: value for name, value in parts.items() if value not in (None, "")}, "tls": url.scheme == "rediss"}


def _refuse_dsn(what: str, *, fix: str = f"write it as {_FORM}") -> NoReturn:
    raise SettingError("DSN", what, fix=fix) from None


def _read_endpoint(text: str) -> dict[str, Any]:
    """Host and port of ``host:port``; either may be left out."""
    text = text.strip()
    if "," in text:
        raise SettingError("ENDPOINT", "names several servers", fix="name one, as host:port")
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, 0
    if port == 0 or "/" in text or "@" in text:
        raise SettingError("ENDPOINT", "is not of the form host:port", fix="write it as host:port, e.g. 127.0.0.1:6379")
    return {name: value for name, value in (("host", host), ("port", port)) if value}


def address(settings: RedisSettings) -> str:
    """``host:port/database``, without anything secret."""
    resolved = resolve(settings, frozenset())
    host = f"[{resolved.host}]" if ":" in resolved.host else resolved.host
    return f"{host}:{resolved.port}/{resolved.database}"


def _dev_settings(server: DevServer) -> dict[str, str]:
    return {"HOST": server.host, "PORT": str(server.port), "DATABASE": server.database, "PASSWORD": server.password}


plugin: Plugin[RedisSettings, RedisStore] = Plugin(
    name="redis",
    config=RedisSettings,
    open=open_store,
    check=RedisStore.check,
    provides={RedisStore: lambda store: store, Redis: lambda store: store.client},
    critical=False,
    resolve=resolve,
    address=address,
    dev=DevNeed(server="redis", addressed_by=("dsn", "endpoint", "host", "port"), settings=_dev_settings),
)
