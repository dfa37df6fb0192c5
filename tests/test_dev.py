"""The newcomer's command."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import BIN, ServiceProcess

ROOT = Path(__file__).parent.parent


@pytest.fixture
def example() -> Iterator[ServiceProcess]:
    env = {
        "USER_SERVICE_GRPC_SERVER_PORT": "0",
        "USER_SERVICE_GRPC_SERVER_LISTEN": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    service = ServiceProcess([str(ROOT / "dev"), "run"], cwd=ROOT, env=env)
    yield service
    service.kill()


def test_dev_run_serves_and_says_what_to_try(example: ServiceProcess) -> None:
    """`./dev run` serves the example on real servers, prints three commands that work, and stops on Ctrl-C."""
    address = example.address()
    example.wait_for_line("Look next:")
    hints = example.output[example.output.index("Try, in a second terminal:") :]
    commands = re.findall(r"^  (\./dev toolkit .*)$", hints, re.MULTILINE)
    assert len(commands) == 3
    assert commands[0] == f"./dev toolkit call {address}"
    outputs = []
    for command in commands:
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=25)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout)
    assert "users.v1.UserService" in outputs[0]
    assert '"ada@example.com"' in outputs[1]
    assert "USER_SERVICE_PGSQL_HOST" in outputs[2]
    listed = subprocess.run(
        [str(BIN / "grpcurl"), "-plaintext", "-d", '{"id": 1}', address, "users.v1.UserService/GetUser"],
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
    )
    assert '"ada@example.com"' in listed.stdout, listed.stderr
    assert example.end(signal.SIGINT) == 0


def test_dev_explains_itself() -> None:
    """`./dev` alone lists its commands; an unknown one is a usage error."""
    done = subprocess.run([str(ROOT / "dev")], capture_output=True, text=True, check=False, timeout=25)
    assert done.returncode == 0
    for command in ("run", "test", "lint", "types", "bench", "shell"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)
    wrong = subprocess.run([str(ROOT / "dev"), "tset"], capture_output=True, text=True, check=False, timeout=25)
    assert wrong.returncode == 2
    assert "there is no command 'tset'" in wrong.stderr
