"""Fixtures that run the project's own commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.processes import BIN, RunToolkit, ServiceProcess, Start


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Start]:
    """Start `toolkit-run` with arguments; whatever still runs when the test ends is killed."""
    running: list[ServiceProcess] = []

    def start(*arguments: str, cwd: Path = tmp_path, env: Mapping[str, str] | None = None) -> ServiceProcess:
        service = ServiceProcess([str(BIN / "toolkit-run"), *arguments], cwd=cwd, env=env or {})
        running.append(service)
        return service

    yield start
    for service in running:
        service.kill()


@pytest.fixture
def toolkit(tmp_path: Path) -> RunToolkit:
    """Run a `toolkit` command to its end, in the test's folder and with a bare environment."""

    def run(*arguments: str, cwd: Path = tmp_path, env: Mapping[str, str] | None = None) -> Any:
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        return subprocess.run(
            [str(BIN / "toolkit"), *arguments],
            cwd=cwd,
            env={**base, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=25,
        )

    return run
