"""Development servers die with the process that started them, however it dies."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from toolkit.devservices.supervised import sweep_abandoned

#: Starts one server of each kind from a thread that then ends, says what it started, and waits.
SCRIPT = """
import asyncio, json, os, sys, threading
from toolkit.devservices import SERVERS

servers = [make() for make in SERVERS.values()]
for server in servers:
    thread = threading.Thread(target=server.open)
    thread.start()
    thread.join()
    server.create_database("mine")
print(json.dumps({
    "ports": [server.port for server in servers],
    "directories": [str(server.directory) for server in servers],
    "guards": [server._process._guard.pid for server in servers],
    "identities": [server._identity.way for server in servers],
    "uid": os.geteuid(),
}), flush=True)
sys.stdin.readline()
print(all(server._process.is_running() for server in servers), flush=True)
if "fork" in sys.argv and os.fork() == 0:
    # A child that holds every pipe of its parent open, and lives on.
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.readline()
for server in servers:
    server.close()
"""


@contextmanager
def started(*arguments: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", SCRIPT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


Alive = Callable[[Iterable[psutil.Process]], list[psutil.Process]]


@pytest.fixture
def own_temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that no other test sweeps; the servers' accounts may enter it."""
    with tempfile.TemporaryDirectory(prefix="toolkit-death-") as name:
        Path(name).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def family(pids: list[int]) -> list[psutil.Process]:
    return [process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_die_with_their_parent(number: signal.Signals, alive: Alive) -> None:
    """When the process that started them is killed, every process of the servers ends and their files are removed."""
    with started() as (parent, said):
        processes = family(said["guards"])
        # Two guards, Valkey, PostgreSQL and its own background processes.
        assert len(alive(processes)) > 6
        parent.send_signal(number)
        wait_until(lambda: not alive(processes))
        wait_until(lambda: not any(Path(directory).exists() for directory in said["directories"]))


def test_servers_die_also_when_a_fork_lives_on(alive: Alive) -> None:
    """A forked child of the parent, which holds its pipes open, does not keep the servers alive."""
    with started("fork") as (parent, said):
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "True\n"
        child = psutil.Process(int(parent.stdout.readline()))
        processes = family(said["guards"])
        parent.kill()
        wait_until(lambda: not alive(processes))
        assert alive([child])
        child.kill()


def test_servers_die_with_their_guard(alive: Alive, own_temp: Path) -> None:
    """When even the guards are killed the servers end, and the next start removes what they left behind."""
    with started() as (_, said):
        guards = [psutil.Process(pid) for pid in said["guards"]]
        servers = [process for process in family(said["guards"]) if process not in guards]
        for guard in guards:
            guard.kill()
        try:
            wait_until(lambda: not alive(servers))
        finally:
            for server in alive(servers):
                server.kill()
        directories = [Path(directory) for directory in said["directories"]]
        assert all(directory.parent == own_temp and directory.exists() for directory in directories)
        sweep_abandoned()
        wait_until(lambda: not any(directory.exists() for directory in directories))


def test_sweeping_spares_what_is_in_use(own_temp: Path) -> None:
    """Directories of running servers stay when others are swept, and so do those of other programs."""
    unrelated = own_temp / "toolkit-dev-without-lock"
    unrelated.mkdir()
    with started() as (_, said):
        sweep_abandoned()
        assert all(Path(directory).parent == own_temp for directory in said["directories"])
        assert all(Path(directory).exists() for directory in said["directories"])
    assert unrelated.exists()


def test_interrupt_of_the_group_is_the_parents() -> None:
    """A Ctrl-C in the terminal reaches the parent alone: its servers are there until it has stopped its plugins."""
    with started() as (parent, said):
        groups = {os.getpgid(process.pid) for process in family(said["guards"])}
        assert os.getpgid(parent.pid) not in groups
        for pid in said["guards"]:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write("\n\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "True\n"
        assert parent.wait(15) == 0


def test_ordinary_user_starts_them() -> None:
    """A user who is not root starts the servers as they are, without any namespace or account."""
    with started(prefix=as_ordinary_user()) as (parent, said):
        assert said["uid"] != 0
        assert said["identities"] == ["self", "self"]
        assert parent.stdin is not None
        parent.stdin.write("\n\n")
        parent.stdin.flush()
        assert parent.wait(15) == 0


def as_ordinary_user() -> tuple[str, ...]:
    """For root: a command that runs another as somebody else; the binaries may lie below a home of mode 0700."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare and subprocess.run([unshare, "--user", "true"], check=False).returncode == 0:
        return (unshare, "--user", f"--map-user={nobody.pw_uid}")
    assert setpriv
    return (setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
