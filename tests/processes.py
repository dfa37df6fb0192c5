"""A service as its users run it: a process of its own, started by command, found by its log."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


class ServiceProcess:
    """A running command whose log is JSON; every line it writes is kept."""

    def __init__(self, command: list[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**base, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, event: str, *, seconds: float = 25.0) -> dict[str, Any]:
        """The next log event of this name; fails with the whole output when the process ends first."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._next_line(event, deadline)
            if line.startswith("{"):
                entry: dict[str, Any] = json.loads(line)
                if entry.get("event") == event:
                    return entry

    def wait_for_line(self, text: str, *, seconds: float = 25.0) -> None:
        """Return once a line that holds ``text`` was written."""
        deadline = time.monotonic() + seconds
        while text not in self._next_line(text, deadline):
            pass

    def _next_line(self, wanted: str, deadline: float) -> str:
        try:
            line = self._queue.get(timeout=max(deadline - time.monotonic(), 0.01))
        except queue.Empty:
            line = None
        if line is None:
            raise AssertionError(f"no {wanted} came; the output:\n{self.output}")
        return line

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def address(self) -> str:
        """Where it serves gRPC, once it does."""
        listen: str = self.wait_for("toolkit.service_started")["grpc"]
        return listen.replace("0.0.0.0:", "127.0.0.1:")

    def end(self, signal_number: int, *, seconds: float = 20.0) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(signal_number)
        return self.wait(seconds=seconds)

    def kill(self) -> None:
        """End it whatever it does, and leave nothing of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)
        self._reader.join(timeout=5)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def wait(self, *, seconds: float = 20.0) -> int:
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=5)
        return code


#: What the fixture ``start_service`` gives.
Start = Callable[..., ServiceProcess]
#: What the fixture ``toolkit`` gives.
RunToolkit = Callable[..., "subprocess.CompletedProcess[str]"]
