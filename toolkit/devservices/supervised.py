"""A program in a private directory, watched by a guard process that outlives neither it nor us."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

__all__ = ["ExecutionError", "Identity", "Supervised", "unprivileged_identities"]

_GUARD = Path(__file__).with_name("guard.py")
_PREFIX = "toolkit-dev-"
_LOCK = "lock"
#: The guard answers at once, except while it stops a server.
_ANSWER_TIMEOUT = 15.0


class ExecutionError(Exception):
    """A program could not be executed at all; the message says why."""


@attrs.frozen
class Identity:
    """As whom a program runs: as ourselves, as a user inside a user namespace, or as another account."""

    way: Literal["self", "namespace", "account"] = "self"
    uid: int = -1
    gid: int = -1


def unprivileged_identities() -> tuple[Identity, ...]:
    """The identities under which PostgreSQL agrees to run, best first.

    It refuses root, and a user id without a name. A user namespace cures both, also
    below a home that nobody else may enter; containers often forbid it, and then root
    can still drop to another account.
    """
    uid = os.geteuid()
    names = {entry.pw_uid: entry for entry in pwd.getpwall()}
    if uid != 0 and uid in names:
        return (Identity(),)
    others = [entry for entry in names.values() if entry.pw_uid != 0]
    # The accounts that are there for it come first.
    others.sort(key=lambda entry: entry.pw_name not in ("postgres", "nobody"))
    if not others:
        return (Identity(),)
    account = others[0]
    namespace = Identity("namespace", account.pw_uid, account.pw_gid)
    return (namespace, Identity("account", account.pw_uid, account.pw_gid) if uid == 0 else Identity())


class Supervised:
    """A private directory, and at most one program at a time that works in it.

    Every method may be called from any thread, and blocks for as long as it takes.
    """

    def __init__(self, stop_signal: int) -> None:
        sweep_abandoned()
        self.directory, lock = _make_directory()
        try:
            with (self.directory / "guard.log").open("wb") as log:
                self._guard = subprocess.Popen(  # noqa: S603 -- our own interpreter and file
                    [sys.executable, "-I", "-S", str(_GUARD), str(self.directory), str(int(stop_signal))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    cwd="/",
                    env={},
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        finally:
            os.close(lock)
        assert self._guard.stdin is not None  # noqa: S101 -- it is a pipe
        assert self._guard.stdout is not None  # noqa: S101 -- it is a pipe
        self._to_guard, self._from_guard = self._guard.stdin, self._guard.stdout
        self._answers = threading.Lock()
        self._closed = False
        #: The process id of the program that was started last; 0 before the first.
        self.pid = 0

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        identity: Identity = Identity(),
        environment: Mapping[str, str],
    ) -> None:
        """Start a program.

        Raises:
            ExecutionError: it cannot be executed in this way.
        """
        answer = self._ask(
            do="run", argv=list(argv), log=str(log), identity=attrs.asdict(identity), environment=dict(environment)
        )
        if "error" in answer:
            raise ExecutionError(answer["error"])
        self.pid = int(answer["pid"])

    def status(self) -> int | None:
        """The program's exit status (negative: the signal that ended it); None while it runs."""
        answer = self._ask(do="poll")
        return None if answer["running"] else int(answer["status"])

    def is_running(self) -> bool:
        """Whether a program was started and has not ended."""
        return bool(self._ask(do="poll")["running"])

    def wait(self, timeout: float) -> int:
        """Wait for the program to end, at most ``timeout`` seconds, and give its exit status.

        Raises:
            TimeoutError: it still runs.
        """
        deadline = time.monotonic() + timeout
        while (status := self.status()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the program still runs after {timeout:g} s")
            time.sleep(0.01)
        return status

    def end(self, signal_number: int, *, grace: float = 0.0) -> None:
        """Send a signal to the program, and after ``grace`` seconds kill what is left of it and its children."""
        self._ask(do="end", signal=int(signal_number), grace=grace)

    def close(self) -> None:
        """End the program and remove the directory; a second call does nothing."""
        self._closed = True
        # Not under the lock: a start that waits in another thread ends because of this.
        with contextlib.suppress(OSError):
            self._to_guard.close()
        try:
            self._guard.wait(_ANSWER_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        with self._answers:
            self._from_guard.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._answers:
            try:
                answer = self._exchange(json.dumps(request).encode() + b"\n")
            except (OSError, ValueError):
                # Closed by another thread, or the guard was killed.
                answer = b""
        if not answer:
            reason = "it was closed" if self._closed else "its guard process is gone"
            raise ExecutionError(f"the development server cannot be used any more: {reason}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def _exchange(self, request: bytes) -> bytes:
        self._to_guard.write(request)
        answer = b""
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while not answer.endswith(b"\n"):
            if not select.select([self._from_guard], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return b""
            data = os.read(self._from_guard.fileno(), 65536)
            if not data:
                return b""
            answer += data
        return answer


def _make_directory() -> tuple[Path, int]:
    """A new private directory, and the descriptor of the lock that says it is in use."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / _LOCK).exists():
            return directory, lock
        # Swept away between its making and its locking.
        os.close(lock)


def sweep_abandoned() -> None:
    """Remove the private directories whose guards were killed before they could do it."""
    for directory in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    # Held by the guard and its server for as long as one of them lives.
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)
