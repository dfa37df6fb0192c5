"""Plugins are found by entry point, and what is wrong with one is said with its name."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import attrs
import pytest
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.manifest import Location, Manifest, PluginDeclaration
from toolkit.plugins import Plugin
from toolkit.runtime import discovery
from toolkit.runtime.discovery import discover_plugins


@attrs.frozen
class Settings:
    pass


@asynccontextmanager
async def open_it(_config: Settings, _host: Any) -> AsyncIterator[str]:
    yield "resource"


async def check_it(_resource: str) -> None: ...


GOOD: Plugin[Any, Any] = Plugin(
    name="good", config=Settings, open=open_it, check=check_it, provides={str: lambda resource: resource}
)


def flawed(**changes: Any) -> object:
    return attrs.evolve(GOOD, **changes)


def manifest(*types: str) -> Manifest:
    return Manifest(
        services=(),
        plugins=tuple(
            PluginDeclaration(prefix=f"p{n}", type=name, location=Location("shop.proto", 10 + n))
            for n, name in enumerate(types)
        ),
        clients=(),
        app=None,
        files=(),
        pool=DescriptorPool(),
    )


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put plugins, by type name, behind entry points of a module that exists for the test only."""

    def put(**plugins: object) -> None:
        module = ModuleType("plugins_of_the_test")
        for name, plugin in plugins.items():
            setattr(module, name, plugin)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        entries = [EntryPoint(name, f"{module.__name__}:{name}", discovery.GROUP) for name in plugins]
        monkeypatch.setattr(discovery, "_list_entry_points", lambda: entries)

    return put


def test_declared_plugins_are_loaded_by_prefix(install: Callable[..., None]) -> None:
    """Each declared prefix gets the plugin of its type; two prefixes may share a type."""
    install(good=GOOD)
    found = discover_plugins(manifest("good", "good"))
    assert found.plugins == {"p0": GOOD, "p1": GOOD}
    assert found.problems == ()


def test_only_named_plugins_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that no manifest names is not even imported."""
    entries = [EntryPoint("other", "a_module_that_does_not_exist:plugin", discovery.GROUP)]
    monkeypatch.setattr(discovery, "_list_entry_points", lambda: entries)
    assert discover_plugins(manifest()).problems == ()


def test_built_in_names_and_aliases_lead_to_one_plugin() -> None:
    """The original's type name and the Python one are the same plugin."""
    found = discover_plugins(manifest("postgres_gorm", "postgres_sqlalchemy", "redis"))
    assert found.problems == ()
    assert found.plugins["p0"] is found.plugins["p1"]
    assert found.plugins["p2"].name == "redis"


def test_unknown_type_names_the_nearest() -> None:
    """A misspelt type gets the nearest known one."""
    (problem,) = discover_plugins(manifest("postgres_grom")).problems
    assert problem.code == "plugin.unknown_type"
    lines = str(problem).splitlines()
    assert lines[0] == (
        "shop.proto:10: plugin 'p0' is of the type 'postgres_grom', which no installed package provides"
    )
    assert re.match(r"^    known types: .*postgres_gorm, postgres_sqlalchemy, redis", lines[1])
    assert lines[2] == "  → did you mean 'postgres_gorm'?"


def test_types_of_the_original_without_a_plugin_are_not_served_yet() -> None:
    """A manifest that names one of the original's other plugins is served without it."""
    found = discover_plugins(manifest("rabbitmq", "redis", "sentry"))
    assert found.problems == ()
    assert list(found.plugins) == ["p1"]
    assert [(item.prefix, item.type) for item in found.not_served] == [("p0", "rabbitmq"), ("p2", "sentry")]


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin whose library is not installed says which extra brings it."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for name in [name for name in sys.modules if name.startswith("toolkit.plugins.postgres_gorm")]:
        monkeypatch.delitem(sys.modules, name)
    (problem,) = discover_plugins(manifest("postgres_gorm")).problems
    assert problem.code == "plugin.missing_library"
    assert problem.what.startswith("plugin 'postgres_gorm' needs the Python module ")
    assert problem.fix == "pip install 'toolkit-runtime[postgres]'"


def test_two_packages_with_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ambiguous type is refused with both entry points."""
    entries = [EntryPoint("good", value, discovery.GROUP) for value in ("one:plugin", "two:plugin")]
    monkeypatch.setattr(discovery, "_list_entry_points", lambda: entries)
    (problem,) = discover_plugins(manifest("good")).problems
    assert str(problem) == (
        "shop.proto:10: two installed packages provide a plugin named 'good'\n"
        "    entry point good = one:plugin\n"
        "    entry point good = two:plugin\n"
        "  → uninstall one of them, or give one another entry-point name"
    )


async def _open_without_decorator(_config: Settings, _host: Any) -> AsyncIterator[str]:
    yield "resource"


@pytest.mark.parametrize(
    ("plugin", "defect"),
    [
        ("a text", "it leads to a str, not to a toolkit.plugins.Plugin"),
        (flawed(config=dict), "config is <class 'dict'>, not an attrs class"),
        (
            flawed(open=_open_without_decorator),
            "open is no context manager: decorate it with @contextlib.asynccontextmanager",
        ),
        (flawed(check=lambda _resource: None), "check is not an async function"),
        (flawed(provides={}), "provides is empty: no handler could ask for anything"),
        (flawed(provides={"str": str}), "provides: 'str' is not a type"),
        (
            flawed(provides={str: "x"}),
            "provides[<class 'str'>] is neither a function of the resource nor a PerCall",
        ),
    ],
)
def test_broken_contract_is_said(install: Callable[..., None], plugin: object, defect: str) -> None:
    """Each mistake of a plugin's author has a sentence of its own, under the entry point's name."""
    install(bad=plugin)
    (problem,) = discover_plugins(manifest("bad")).problems
    assert str(problem) == (
        "shop.proto:10: plugin 'bad' does not keep the plugin contract\n"
        "    entry point bad = plugins_of_the_test:bad\n"
        f"    {defect}\n"
        "  → this is a defect of the plugin's package: correct or update it"
    )


def test_replacements_come_before_entry_points() -> None:
    """A test's own plugin stands in for the declared one, which is not looked for."""
    found = discover_plugins(manifest("no_such_type"), replacements={"p0": GOOD})
    assert found.plugins == {"p0": GOOD}
    assert found.problems == ()
