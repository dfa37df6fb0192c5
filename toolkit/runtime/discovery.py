"""Find the plugins that a manifest names, through the entry-point group ``toolkit.plugins``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest, PluginDeclaration
from toolkit.manifest.names import nearest
from toolkit.plugins import PerCall, Plugin

if TYPE_CHECKING:
    # Only a manifest with plugins pays for reading the metadata of what is installed.
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "Discovery", "discover_plugins"]

#: Types of the original that no installed package has to provide: a manifest that names
#: one is served without it, and says so.
_NOT_SERVED_YET = frozenset(
    {
        *("postgres_pg", "postgres_psycopg", "postgres_pgx", "postgres_asyncpg"),
        *("rabbitmq", "centrifuge", "sentry", "resolver_consul"),
    }
)

#: The entry-point group of plugins; an entry's name is the type that a manifest writes.
GROUP = "toolkit.plugins"


@attrs.frozen(kw_only=True)
class Discovery:
    """The plugins by declared prefix; what could not be found or loaded is a problem instead."""

    plugins: Mapping[str, Plugin[Any, Any]]
    problems: tuple[Problem, ...]
    #: Declarations of the original's types that nothing provides yet.
    not_served: tuple[PluginDeclaration, ...] = ()


def discover_plugins(manifest: Manifest, *, replacements: Mapping[str, Plugin[Any, Any]] | None = None) -> Discovery:
    """Load the plugin of every prefix that the manifest declares, and of no other.

    ``replacements`` (by prefix) stand in for what the manifest names: a test's own plugin.
    """
    replaced = replacements or {}
    found: dict[str, Plugin[Any, Any]] = {}
    problems: list[Problem] = []
    not_served: list[PluginDeclaration] = []
    by_name: dict[str, list[EntryPoint]] | None = None
    for declaration in manifest.plugins:
        if declaration.prefix in replaced:
            found[declaration.prefix] = replaced[declaration.prefix]
            continue
        if by_name is None:
            by_name = {}
            for entry in _list_entry_points():
                by_name.setdefault(entry.name, []).append(entry)
        if declaration.type in _NOT_SERVED_YET and declaration.type not in by_name:
            not_served.append(declaration)
            continue
        plugin = _load_declared(declaration, by_name, problems)
        if plugin is not None:
            found[declaration.prefix] = plugin
    return Discovery(plugins=found, problems=tuple(problems), not_served=tuple(not_served))


def _list_entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _load_declared(
    declaration: PluginDeclaration, by_name: Mapping[str, list[EntryPoint]], problems: list[Problem]
) -> Plugin[Any, Any] | None:
    where = str(declaration.location)
    entries = by_name.get(declaration.type, [])
    if not entries:
        problems.append(_unknown_type(declaration, by_name))
        return None
    if len({entry.value for entry in entries}) > 1:
        problems.append(
            Problem(
                code="plugin.ambiguous_type",
                where=where,
                what=f"two installed packages provide a plugin named {declaration.type!r}",
                why="\n".join(f"{_describe(entry)}" for entry in entries),
                fix="uninstall one of them, or give one another entry-point name",
            )
        )
        return None
    entry = entries[0]
    try:
        plugin = entry.load()
    except ModuleNotFoundError as error:
        problems.append(_missing_library(declaration, entry, error))
        return None
    except Exception as error:  # noqa: BLE001 -- whatever a third party's module raises is reported, with its name
        problems.append(
            Problem(
                code="plugin.broken_module",
                where=where,
                what=f"plugin {declaration.type!r} cannot be imported",
                why=f"{_describe(entry)}\n{type(error).__name__}: {error}",
                fix="this is a defect of the plugin's package: correct or update it",
            )
        )
        return None
    defects = list(_find_defects(plugin))
    if defects:
        problems.append(
            Problem(
                code="plugin.broken_contract",
                where=where,
                what=f"plugin {declaration.type!r} does not keep the plugin contract",
                why="\n".join([_describe(entry), *defects]),
                fix="this is a defect of the plugin's package: correct or update it",
            )
        )
        return None
    return plugin  # type: ignore[no-any-return]


def _describe(entry: EntryPoint) -> str:
    owner = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"entry point {entry.name} = {entry.value}{owner}"


def _unknown_type(declaration: PluginDeclaration, by_name: Mapping[str, object]) -> Problem:
    meant = nearest(declaration.type, by_name)
    known = ", ".join(sorted(by_name)) or "none: is toolkit-runtime installed as a package?"
    return Problem(
        code="plugin.unknown_type",
        where=str(declaration.location),
        what=f"plugin {declaration.prefix!r} is of the type {declaration.type!r}, which no installed package provides",
        why=f"known types: {known}",
        fix=f"did you mean {meant!r}?" if meant else "install the package that provides it",
    )


def _missing_library(declaration: PluginDeclaration, entry: EntryPoint, error: ModuleNotFoundError) -> Problem:
    distribution = entry.dist.name if entry.dist else "toolkit-runtime"
    extras = ",".join(entry.extras)
    return Problem(
        code="plugin.missing_library",
        where=str(declaration.location),
        what=f"plugin {declaration.type!r} needs the Python module {error.name!r}, which is not installed",
        fix=f"pip install '{distribution}[{extras}]'" if extras else f"pip install {error.name}",
    )


def _find_defects(plugin: object) -> Iterable[str]:
    if not isinstance(plugin, Plugin):
        yield f"it leads to a {type(plugin).__name__}, not to a toolkit.plugins.Plugin"
        return
    if not attrs.has(plugin.config):
        yield f"config is {plugin.config!r}, not an attrs class"
    if inspect.isasyncgenfunction(plugin.open) or inspect.iscoroutinefunction(plugin.open):
        yield "open is no context manager: decorate it with @contextlib.asynccontextmanager"
    if not inspect.iscoroutinefunction(plugin.check):
        yield "check is not an async function"
    if not plugin.provides:
        yield "provides is empty: no handler could ask for anything"
    provides: Any = plugin.provides
    for wanted, view in provides.items():
        if not isinstance(wanted, type):
            yield f"provides: {wanted!r} is not a type"
        if not isinstance(view, PerCall) and not callable(view):
            yield f"provides[{wanted!r}] is neither a function of the resource nor a PerCall"
