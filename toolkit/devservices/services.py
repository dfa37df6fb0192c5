"""The servers behind ``--dev``: one of each kind, and a database of its own for each prefix."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import attrs

from toolkit.devservices.postgres import PostgresServer
from toolkit.devservices.redis import RedisServer
from toolkit.devservices.server import START_TIMEOUT, RunningServer, Server, server_failed
from toolkit.devservices.supervised import ExecutionError
from toolkit.errors import Problem, StartupError
from toolkit.plugins import DevNeed, Plugin

__all__ = ["SERVERS", "DevServices", "ServerStarted", "find_needs", "open_server"]

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
    #: From nothing to its first connection.
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
        await asyncio.shield(asyncio.to_thread(server.close))


def find_needs(
    plugins: Mapping[str, Plugin[Any, Any]], environ: Mapping[str, str], *, env_prefix: str
) -> dict[str, DevNeed]:
    """The needs of those plugins, by prefix, to which no variable of ``environ`` gives an address.

    ``environ`` is the process environment over the env files; an empty variable counts as unset.
    """
    return {
        prefix: plugin.dev
        for prefix, plugin in plugins.items()
        if plugin.dev is not None and not any(environ.get(name) for name in _address_names(plugin.dev, env_prefix, prefix))
    }


def _address_names(need: DevNeed, env_prefix: str, prefix: str) -> Iterable[str]:
    for setting in need.addressed_by:
        name = "_".join(part for part in (env_prefix, prefix, setting) if part).upper()
        yield name
        # A secret, like a DSN, may be read from a file.
        yield name + "_FILE"


class DevServices:
    """An async context manager that owns the development servers of one service."""

    def __init__(
        self, *, servers: Mapping[str, Callable[[], Server]] = SERVERS, timeout: float = START_TIMEOUT
    ) -> None:
        self._known = servers
        self._timeout = timeout
        self._servers: list[Server] = []
        #: What was started, in the order of its readiness.
        self.events: list[ServerStarted] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        servers, self._servers = self._servers, []
        await asyncio.shield(asyncio.gather(*(asyncio.to_thread(server.close) for server in servers)))

    async def start(self, needs: Mapping[str, DevNeed]) -> dict[str, Mapping[str, str]]:
        """Start one server of every kind that is needed, all at once, and give each prefix its settings.

        The result maps a prefix to the settings (name to text) that lead to a database
        of its own; they hold passwords.

        Raises:
            StartupError: with a problem for every kind that could not be started.
        """
        kinds: dict[str, dict[str, DevNeed]] = {}
        for prefix, need in needs.items():
            kinds.setdefault(need.server, {})[prefix] = need
        self._refuse_unknown(kinds)
        results = await asyncio.gather(
            *(self._start_kind(kind, wanted) for kind, wanted in kinds.items()), return_exceptions=True
        )
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

    def _refuse_unknown(self, kinds: Mapping[str, Mapping[str, DevNeed]]) -> None:
        problems = [
            Problem(
                code="plugin.dev_server_unknown",
                what=f"no development server of the kind {kind!r} exists",
                where=", ".join(wanted),
                why=f"toolkit can start: {', '.join(sorted(self._known))}",
                fix="name a server of your own in the environment",
            )
            for kind, wanted in kinds.items()
            if kind not in self._known
        ]
        if problems:
            raise StartupError(problems)

    async def _start_kind(self, kind: str, wanted: Mapping[str, DevNeed]) -> dict[str, Mapping[str, str]]:
        began = time.monotonic()
        server = self._known[kind]()
        self._servers.append(server)
        try:
            await asyncio.to_thread(server.open, self._timeout)
            places = await asyncio.gather(
                *(asyncio.to_thread(server.create_database, prefix.lower()) for prefix in wanted)
            )
        except ExecutionError as error:
            raise server_failed(server, str(error), what="cannot be used") from error
        self.events.append(
            ServerStarted(
                kind=kind,
                host=server.host,
                port=server.port,
                binary=str(server.binary),
                seconds=time.monotonic() - began,
                databases={prefix: place.database for prefix, place in zip(wanted, places, strict=True)},
            )
        )
        return {
            prefix: dict(need.settings(place))
            for (prefix, need), place in zip(wanted.items(), places, strict=True)
        }
