"""The process between toolkit and a development server: it outlives neither, and clears up after both.

Run as a program (``python -I -S guard.py DIRECTORY STOP_SIGNAL``), with the standard
library alone. It reads one JSON object a line from standard input and answers each with
one line. When its input ends or its parent is gone, however that came (``kill -9``
included), it stops the server, removes the private directory and exits. The server in
its turn is sent STOP_SIGNAL by the kernel when this process dies: it has one thread
only, so that Linux's parent-death signal, which is tied to a thread, means the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000
#: How long a server may take to stop before it is killed, in seconds; PostgreSQL gives its children five.
_GRACE = 8.0

_linux = sys.platform == "linux"
_libc: Any = ctypes.CDLL(None, use_errno=True) if _linux else None


def _call_libc(name: str, *arguments: int) -> None:
    """Call a function of the C library; raises OSError with its errno."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Become ``uid`` in a user namespace of its own, and stay who we are outside of it.

    Files keep their outer owner, so that even a binary below a home of mode 0700 can be
    run (user_namespaces(7)).
    """
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call_libc("unshare", _CLONE_NEWUSER)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def _become(identity: dict[str, Any]) -> None:
    """Take on the identity under which the server shall run."""
    if identity["way"] == "namespace":
        _enter_user_namespace(identity["uid"], identity["gid"])
    elif identity["way"] == "account":
        os.setgroups([])
        os.setgid(identity["gid"])
        os.setuid(identity["uid"])


def _children() -> list[int]:
    """Our children; with the subreaper flag also those whose own parent has died."""
    found = []
    mine = str(os.getpid())
    for name in os.listdir("/proc") if _linux else ():
        if name.isdigit():
            # The process may be gone before its status is read.
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="latin-1") as file:
                if file.read().rpartition(")")[2].split()[1] == mine:
                    found.append(int(name))
    return found


class Guard:
    """Runs one server at a time in ``directory``."""

    def __init__(self, directory: str, stop_signal: int) -> None:
        self.directory = directory
        self.stop_signal = stop_signal
        self.parent = os.getppid()
        self.pid: int | None = None
        self.status: int | None = None

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a program; the answer has its pid, or says why it could not be executed."""
        if request["identity"]["way"] == "account":
            # The account must reach, and own, what it works on.
            for path in (self.directory, *(os.path.join(self.directory, name) for name in os.listdir(self.directory))):
                os.chown(path, request["identity"]["uid"], request["identity"]["gid"])
        read_end, write_end = os.pipe()
        guard = os.getpid()
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            self._execute(request, guard, write_end)
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            message = pipe.read()
        if message:
            os.waitpid(self.pid, 0)
            self.pid = None
            return {"error": message.decode("utf-8", "replace")}
        return {"pid": self.pid}

    def _execute(self, request: dict[str, Any], guard: int, errors: int) -> None:
        """In the child: turn into the program, or write why not to ``errors``."""
        try:
            os.setsid()
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            source = os.open(os.devnull, os.O_RDONLY)
            _become(request["identity"])
            if _linux:
                # After the change of identity, which clears it (prctl(2)).
                _call_libc("prctl", _PR_SET_PDEATHSIG, self.stop_signal)
            if os.getppid() != guard:
                os._exit(1)
            os.dup2(source, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            os.chdir(self.directory)
            os.execve(request["argv"][0], request["argv"], request["environment"])  # noqa: S606
        except BaseException as error:  # noqa: BLE001 -- a forked child must not run on into its parent's code
            os.write(errors, str(error).encode())
        os._exit(127)

    def poll(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whether the program still runs, or its exit status (negative: the signal that ended it)."""
        if self.pid is not None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid, self.status = None, os.waitstatus_to_exitcode(status)
        return {"running": self.pid is not None, "status": self.status}

    def end(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a signal, give the program some time, then kill what is left of it and of its children."""
        if self.pid is not None:
            os.kill(self.pid, request["signal"])
            deadline = time.monotonic() + request["grace"]
            while self.poll({})["running"] and time.monotonic() < deadline:
                time.sleep(0.005)
            if self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                self.pid, self.status = None, os.waitstatus_to_exitcode(status)
        while orphans := _children():
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return {"running": False, "status": self.status}

    def serve(self) -> None:
        """Answer requests until the input ends or the parent is gone."""
        commands = {"run": self.run, "poll": self.poll, "end": self.end}
        buffer = b""
        while os.getppid() == self.parent:
            # A fork of the parent may hold the pipe open after its death: look at both.
            if not select.select([0], [], [], 1.0)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                try:
                    answer = commands[request["do"]](request)
                except OSError as error:
                    answer = {"error": str(error)}
                os.write(1, json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Serve the parent until it is gone, then clear up."""
    directory, stop_signal = sys.argv[1], int(sys.argv[2])
    # A Ctrl-C or a signal to the whole group is for the parent: it stops its plugins
    # first, and their servers go with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if _linux:
        _call_libc("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    guard = Guard(directory, stop_signal)
    try:
        guard.serve()
    finally:
        guard.end({"signal": stop_signal, "grace": _GRACE})
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
