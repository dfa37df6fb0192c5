"""A development server: a real one, on a loopback port, in a private directory."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import secrets
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from toolkit.devservices.supervised import ExecutionError, Identity, Supervised
from toolkit.errors import Problem, StartupError
from toolkit.plugins import DevServer

__all__ = ["ENVIRONMENT", "HOST", "START_TIMEOUT", "RunningServer", "Server", "server_failed"]

HOST = "127.0.0.1"
#: How long a server may take from nothing to its first connection, in seconds.
START_TIMEOUT = 30.0
#: How long an orderly stop may take before the server is killed, in seconds.
_STOP_TIMEOUT = 10.0
#: How often a port is picked anew when another process was faster.
_PORT_ATTEMPTS = 20
#: The environment of every program that is run here: nothing of ours reaches it, and its messages are English.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
#: What the C library calls EADDRINUSE.
_PORT_TAKEN = "Address already in use"
_FIRST_PORT = 20_000
_LOG_LINES = 12


class Server(abc.ABC):
    """One real server; every method blocks, and may be called from any thread and under any event loop."""

    #: The name under which :attr:`toolkit.plugins.DevNeed.server` asks for it.
    kind: ClassVar[str]
    #: What people call it.
    title: ClassVar[str]
    #: Ends it at once, with whatever it shares outside of its directory; its data is discarded.
    abort_signal: ClassVar[signal.Signals]
    #: Ends it in good order; its data stays.
    stop_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self.username = ""
        self.password = secrets.token_urlsafe(24)
        #: The program that runs, once it was found.
        self.binary: Path | None = None
        self._identity = Identity()
        self._process: Supervised | None = None
        self._closed = False
        self._state = threading.Lock()
        self._starts = 0

    @property
    def directory(self) -> Path:
        """Its private directory, removed by :meth:`close`."""
        return self._supervised.directory

    @property
    def _supervised(self) -> Supervised:
        if self._process is None:
            raise ExecutionError("the development server is not open")
        return self._process

    def open(self, timeout: float = START_TIMEOUT) -> None:
        """Start it on a free port; returns when it answers.

        Raises:
            StartupError: no binary was found, or it did not start; with its own last log lines.
        """
        deadline = time.monotonic() + timeout
        candidates = self._find_binaries()
        with self._state:
            if self._closed:
                raise ExecutionError("the development server was closed while it started")
            self._process = Supervised(self.abort_signal)
        self._prepare(candidates, deadline)
        for _ in range(_PORT_ATTEMPTS):
            self.port = pick_port()
            if self._start(deadline):
                return
        raise server_failed(self, f"no free port was found in {_PORT_ATTEMPTS} attempts")

    def stop(self) -> None:
        """End it in good order; its data and its port stay for a restart."""
        self._supervised.end(self.stop_signal, grace=_STOP_TIMEOUT)

    def kill(self) -> None:
        """End it with SIGKILL, its children too."""
        self._supervised.end(signal.SIGKILL)

    def restart(self, timeout: float = START_TIMEOUT) -> None:
        """Start it again on the same port and with the same data, stopping it first if it runs."""
        deadline = time.monotonic() + timeout
        self.stop()
        while not self._start(deadline):
            # A client that keeps trying may have been given our port for its own end.
            if time.monotonic() > deadline:
                raise server_failed(self, f"its port {self.port} was taken while it was stopped")
            time.sleep(0.05)

    def close(self) -> None:
        """End it and remove all it had; a second call does nothing."""
        with self._state:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def log_tail(self) -> str:
        """The last lines that the server wrote."""
        try:
            text = self._log.read_text("utf-8", "replace")
        except OSError:
            text = ""
        return "\n".join(text.splitlines()[-_LOG_LINES:])

    @property
    def _log(self) -> Path:
        return self.directory / f"server-{self._starts}.log"

    def _start(self, deadline: float) -> bool:
        """Run the program until it answers; False when its port is taken."""
        self._starts += 1
        self._supervised.run(self._command(), log=self._log, identity=self._identity, environment=ENVIRONMENT)
        while not self._is_ready():
            status = self._supervised.status()
            if status is not None:
                if _PORT_TAKEN in self.log_tail():
                    return False
                raise server_failed(self, f"it ended with status {status}", self.log_tail())
            if time.monotonic() > deadline:
                self.kill()
                raise server_failed(self, "it did not answer in time", self.log_tail())
            time.sleep(0.01)
        return True

    @abc.abstractmethod
    def _find_binaries(self) -> Sequence[Path]:
        """What could be run, the preferred one first.

        Raises:
            StartupError: nothing was found.
        """

    @abc.abstractmethod
    def _prepare(self, candidates: Sequence[Path], deadline: float) -> None:
        """Choose ``binary`` and make the data ready for the first start."""

    @abc.abstractmethod
    def _command(self) -> Sequence[str]:
        """The command line that serves on ``port``."""

    @abc.abstractmethod
    def _is_ready(self) -> bool:
        """Whether the program that was started last takes connections."""

    @abc.abstractmethod
    def create_database(self, name: str) -> DevServer:
        """Create an empty database of its own under this name, and say how it is reached."""

    @abc.abstractmethod
    def drop_database(self, name: str) -> None:
        """Remove a database that :meth:`create_database` made, whoever is still connected."""


class RunningServer:
    """A development server for coroutines: what blocks runs in a thread."""

    def __init__(self, server: Server) -> None:
        self.blocking = server

    @property
    def host(self) -> str:
        """The loopback address on which it listens."""
        return self.blocking.host

    @property
    def port(self) -> int:
        """Its port; a restart keeps it."""
        return self.blocking.port

    @property
    def username(self) -> str:
        """The name of its administrator."""
        return self.blocking.username

    @property
    def password(self) -> str:
        """The administrator's password, random for every server."""
        return self.blocking.password

    async def create_database(self, name: str) -> DevServer:
        """Create an empty database of its own under this name, and say how it is reached."""
        return await asyncio.to_thread(self.blocking.create_database, name)

    async def drop_database(self, name: str) -> None:
        """Remove a database that :meth:`create_database` made, whoever is still connected."""
        await asyncio.to_thread(self.blocking.drop_database, name)

    async def stop(self) -> None:
        """End the server in good order; its data and its port stay for a restart."""
        await asyncio.to_thread(self.blocking.stop)

    async def kill(self) -> None:
        """End the server with SIGKILL, its children too."""
        await asyncio.to_thread(self.blocking.kill)

    async def restart(self) -> None:
        """Start the server again on the same port and with the same data."""
        await asyncio.to_thread(self.blocking.restart)


def server_failed(server: Server, reason: str, log: str = "", *, what: str = "did not start") -> StartupError:
    """The error of a development server, with the lines of its log that tell more."""
    why = f"{server.binary}: {reason}" if server.binary else reason
    if log:
        why += "; the last lines of its log:\n" + "\n".join("  " + line for line in log.splitlines())
    return StartupError(
        [
            Problem(
                code="plugin.dev_server_failed",
                what=f"the development {server.title} server {what}",
                why=why,
                fix="name a server of your own in the environment, or start without --dev",
            )
        ]
    )


def pick_port() -> int:
    """A port that is free right now, from below those that the kernel gives to clients.

    There no connection that goes out, not even one that tries to reach this very server
    while it is down, can take it between a stop and a restart.
    """
    first_client_port = _first_client_port()
    for _ in range(100):
        room = range(_FIRST_PORT, first_client_port)
        port = secrets.choice(room) if len(room) > 1000 else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise OSError("no free port was found")


def _first_client_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except OSError:
        # Not Linux; 49152 is the first of IANA's dynamic ports.
        return 49_152
