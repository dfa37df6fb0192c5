"""Handler modules for the tests: written to a file and imported, so that reports have lines to name."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.runtime.shop import plan_of

WriteModule = Callable[..., ModuleType]


@pytest.fixture
def module_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder from which modules can be imported for one test."""
    before = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def module(module_folder: Path) -> WriteModule:
    """Write a module and import it; its first lines import what handler modules usually need."""

    def write(source: str, name: str = "users") -> ModuleType:
        path = module_folder / f"{name}.py"
        path.write_text(PRELUDE + textwrap.dedent(source).lstrip("\n"))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return write


@pytest.fixture
def problems(module: WriteModule) -> Callable[..., list[str]]:
    """What is wrong with a module of this source, as people read it."""

    def check(source: str, **options: Any) -> list[str]:
        return [str(problem) for problem in plan_of(module(source), **options).problems]

    return check


#: Nine lines, so that the first of a test's own source is line 10.
PRELUDE = """\
from __future__ import annotations
from collections.abc import AsyncIterator
from typing import Annotated, Any
import asyncio
import attrs
import structlog
from tests.runtime.shop import Connection, Database, Engine, FakeApp, Session, Store
from toolkit import Abort, Code, Context, Named, Registry, Service, component, middleware, on_start, on_stop, settings
users = Service("shop.v1.UserService")
"""
