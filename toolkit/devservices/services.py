"""The servers behind ``--dev``: one of each kind, and a database of its own for each prefix."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import attrs

from toolkit.devservices.postgres import PostgresServer
from toolkit.devservices.redis import RedisServer
from toolkit.devservices.server import START_TIMEOUT, RunningServer, Server, server_failed
from toolkit.devservices.supervised import ExecutionError
from toolkit.errors import Problem, StartupError
from toolkit.plugins import DevNeed

__all__ = ["SERVERS", "ServerStarted", "open_dev_servers", "open_server"]

#: Every kind of server that a plugin's :class:`~toolkit.plugins.DevNeed` may ask for.
SERVERS: Mapping[str, Callable[[], Server]] = {server.kind: server for server in (PostgresServer, RedisServer)}


@attrs.frozen(kw_only=True)
class ServerStarted:
    """A development server that was started, for the log."""

    kind: str
    host: str
    port: int
    #: The program that runs.
    binary: str
    #: From nothing to its first connection, and the databases.
    seconds: float
    #: The database of each prefix; Redis numbers them.
    databases: Mapping[str, str]


@asynccontextmanager
async def open_server(kind: str, *, timeout: float = START_TIMEOUT) -> AsyncIterator[RunningServer]:
    """A server of this kind, started on a free loopback port and removed with all it had.

    It dies with this process, however that ends.

    Raises:
        StartupError: no binary was found, or it did not start within ``timeout`` seconds.
        KeyError: there is no such kind; :data:`SERVERS` lists them.
    """
    server = SERVERS[kind]()
    try:
        await asyncio.to_thread(server.open, timeout)
        yield RunningServer(server)
    finally:
        await _close(server)


@asynccontextmanager
async def open_dev_servers(
    needs: Mapping[str, DevNeed],
    *,
    on_started: Callable[[ServerStarted], None] = lambda _event: None,
    servers: Mapping[str, Callable[[], Server]] = SERVERS,
    timeout: float = START_TIMEOUT,
) -> AsyncIterator[Mapping[str, Mapping[str, str]]]:
    """Start one server of every kind that is needed, all at once, and give each prefix its settings.

    ``needs`` are those of the plugins without an address, by prefix. The result maps
    each prefix to the settings (name to text) that lead to a database of its own; they
    hold passwords. ``on_started`` is called with every server that is ready. Leaving the
    context ends them and removes all they had.

    Raises:
        StartupError: with a problem for every kind that could not be started.
    """
    kinds: dict[str, dict[str, DevNeed]] = {}
    for prefix, need in needs.items():
        kinds.setdefault(need.server, {})[prefix] = need
    if problems := [_unknown(kind, wanted, servers) for kind, wanted in kinds.items() if kind not in servers]:
        raise StartupError(problems)
    started = {kind: servers[kind]() for kind in kinds}
    try:
        results = await asyncio.gather(
            *(_start(started[kind], wanted, timeout, on_started) for kind, wanted in kinds.items()),
            return_exceptions=True,
        )
        yield _collect(needs, results)
    finally:
        await _close(*started.values())


async def _start(
    server: Server, wanted: Mapping[str, DevNeed], timeout: float, on_started: Callable[[ServerStarted], None]
) -> dict[str, Mapping[str, str]]:
    began = time.monotonic()
    try:
        await asyncio.to_thread(server.open, timeout)
        places = {prefix: await asyncio.to_thread(server.create_database, prefix.lower()) for prefix in wanted}
    except ExecutionError as error:
        raise server_failed(server, str(error), what="cannot be used") from error
    on_started(
        ServerStarted(
            kind=server.kind,
            host=server.host,
            port=server.port,
            binary=str(server.binary),
            seconds=time.monotonic() - began,
            databases={prefix: place.database for prefix, place in places.items()},
        )
    )
    return {prefix: dict(need.settings(places[prefix])) for prefix, need in wanted.items()}


def _collect(
    needs: Mapping[str, DevNeed], results: list[dict[str, Mapping[str, str]] | BaseException]
) -> Mapping[str, Mapping[str, str]]:
    problems: list[Problem] = []
    settings: dict[str, Mapping[str, str]] = {}
    for result in results:
        if isinstance(result, StartupError):
            problems.extend(result.problems)
        elif isinstance(result, BaseException):
            raise result
        else:
            settings.update(result)
    if problems:
        raise StartupError(problems)
    return {prefix: settings[prefix] for prefix in needs}


def _unknown(kind: str, wanted: Mapping[str, DevNeed], servers: Mapping[str, object]) -> Problem:
    return Problem(
        code="plugin.dev_server_unknown",
        what=f"there is no development server of the kind {kind!r}",
        where=", ".join(f'plugin "{prefix}"' for prefix in wanted),
        why=f"the kinds are {', '.join(sorted(servers))}",
        fix="name a server of your own in the environment",
    )


async def _close(*servers: Server) -> None:
    # Also when we are cancelled: a server that is left alone would be closed by its guard, but later.
    await asyncio.shield(asyncio.gather(*(asyncio.to_thread(server.close) for server in servers)))
