"""The plugins to open, the clients, and the app: merged over files and services, and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import AppDeclaration, ClientDeclaration, Location, PluginDeclaration
from toolkit.manifest.names import draw_path, is_identifier, nearest, quoted, upper_snake
from toolkit.manifest.options import Options

__all__ = ["check_names", "check_needs", "merge_apps", "merge_clients", "merge_plugins", "read_plugins"]

_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


def read_plugins(file: Options, services: Iterable[tuple[str, Options]], findings: Findings) -> list[PluginDeclaration]:
    """What one file declares: its own plugins, then those of its served services."""
    read = [
        _read_plugin(plugin, file.location("toolkit.plugins", index), frozenset(), findings)
        for index, plugin in enumerate(file.values.get("toolkit.plugins", ()))
    ]
    for full_name, options in services:
        runtime = options.values.get("toolkit.runtime", {})
        read.extend(
            _read_plugin(plugin, options.location("toolkit.runtime", 1, index), frozenset({full_name}), findings)
            for index, plugin in enumerate(runtime.get("plugins", ()))
        )
    return [plugin for plugin in read if plugin is not None]


def _read_plugin(
    plugin: Mapping[str, Any], location: Location, services: frozenset[str], findings: Findings
) -> PluginDeclaration | None:
    prefix, kind = plugin.get("prefix", ""), plugin.get("plugin", "")
    _check_prefix(prefix, kind, location, findings)
    if not kind:
        findings.add(
            "plugin_type",
            f"the plugin with the prefix {quoted(prefix)} has no type" if prefix else "a plugin has no type",
            where=location,
            fix=f'add one: {{prefix: "{_suggest(prefix) or "cache"}" plugin: "redis"}}',
        )
    if not kind or not is_identifier(prefix):
        return None
    return PluginDeclaration(
        prefix=prefix,
        type=kind,
        critical=plugin.get("critical"),
        settings=dict(plugin.get("settings", {})),
        needs=tuple(dict.fromkeys(plugin.get("needs", ()))),
        location=location,
        services=services,
    )


def _check_prefix(prefix: str, kind: str, location: Location, findings: Findings) -> None:
    shown = f"plugin {quoted(kind)}" if kind else "a plugin"
    if not prefix:
        findings.add(
            "plugin_prefix",
            f"{shown} is declared without a prefix",
            where=location,
            why="the prefix names the instance: in handlers, and in its environment variables",
            fix=f'add one: {{prefix: "{_suggest(kind) or "cache"}" plugin: "{_suggest(kind) or "redis"}"}}',
        )
    elif not is_identifier(prefix):
        suggested = _suggest(prefix)
        findings.add(
            "plugin_prefix",
            f"the prefix {quoted(prefix)} of {shown} is no identifier",
            where=location,
            why="it names a handler's parameter and environment variables: a letter or underscore, "
            "then letters, digits and underscores",
            fix=f'write prefix: "{suggested}"' if suggested else 'write, for example, prefix: "cache"',
        )


def _suggest(name: str) -> str:
    """An identifier that resembles ``name``, or "" when nothing is left of it."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60]
    return f"_{words}" if words[:1].isdigit() else words


def merge_plugins(declared: Iterable[PluginDeclaration], findings: Findings) -> tuple[PluginDeclaration, ...]:
    """One plugin for each prefix; the same one in two places is one instance, seen from both."""
    merged: dict[str, PluginDeclaration] = {}
    for plugin in declared:
        known = merged.get(plugin.prefix)
        if known is None:
            merged[plugin.prefix] = plugin
        elif differences := _compare(known, plugin):
            findings.add(
                "plugin_conflict",
                f"the prefix {quoted(plugin.prefix)} is declared twice, and not the same",
                where=plugin.location,
                why=f"{known.location} has {differences[0]}, here it is {differences[1]}",
                fix="give one of them another prefix, or make them equal",
            )
        else:
            # No services at all means every service, which outweighs a list of some.
            everywhere = not known.services or not plugin.services
            services = frozenset() if everywhere else known.services | plugin.services
            merged[plugin.prefix] = attrs.evolve(known, services=services)
    return tuple(merged.values())


def _compare(one: PluginDeclaration, other: PluginDeclaration) -> tuple[str, str] | None:
    """How two declarations of one prefix differ, in both their terms; None when they do not."""
    if one.type != other.type:
        return f"plugin: {quoted(one.type)}", quoted(other.type)
    if one.critical != other.critical:
        return f"critical: {_show(one.critical)}", _show(other.critical)
    if one.needs != other.needs:
        return f"needs: [{', '.join(one.needs)}]", f"[{', '.join(other.needs)}]"
    if one.settings != other.settings:
        name = next(
            name for name in (*one.settings, *other.settings) if one.settings.get(name) != other.settings.get(name)
        )
        # Values are not shown: someone may have put a secret there, where it does not belong.
        if name in one.settings and name in other.settings:
            return f"one value for the setting {quoted(name)}", "another"
        states = ("set", "not set") if name in one.settings else ("not set", "set")
        return f"the setting {quoted(name)} {states[0]}", states[1]
    return None


def _show(critical: bool | None) -> str:
    return "unset" if critical is None else str(critical).lower()


def merge_clients(files: Iterable[Options], findings: Findings) -> tuple[ClientDeclaration, ...]:
    """The clients of all files; the same one in two files is one."""
    merged: dict[str, ClientDeclaration] = {}
    for file in files:
        for index, client in enumerate(file.values.get("toolkit.services", ())):
            location = file.location("toolkit.services", index)
            read = ClientDeclaration(
                name=client.get("service", ""), package=client.get("package", ""), location=location
            )
            known = merged.setdefault(read.name, read)
            if not read.name:
                findings.add(
                    "client_name",
                    "a client is declared without a name",
                    where=location,
                    why="handlers ask for a client by its name",
                    fix='add one: {service: "billing" package: "…"}',
                )
            elif known.package != read.package:
                findings.add(
                    "client_conflict",
                    f"the client {quoted(read.name)} is declared twice, and not the same",
                    where=location,
                    why=f"{known.location} has package: {quoted(known.package)}, here it is {quoted(read.package)}",
                    fix="give one of them another name, or make them equal",
                )
    return tuple(client for client in merged.values() if client.name)


def check_names(plugins: Iterable[PluginDeclaration], clients: Iterable[ClientDeclaration], findings: Findings) -> None:
    """Find prefixes and client names that handlers, or the environment, could not tell apart."""
    taken: dict[str, tuple[str, str, Location]] = {}
    named = [("prefix", plugin.prefix, plugin.location) for plugin in plugins]
    named += [("client", client.name, client.location) for client in clients]
    for kind, name, location in named:
        keys = sorted({name.upper(), upper_snake(name)})
        shared = next((key for key in keys if key in taken), None)
        if shared is not None:
            other_kind, other, where = taken[shared]
            if other == name:
                what = f"{quoted(name)} is the name of a {kind} and of a {other_kind}"
                why = f"handlers ask for both by name; the {other_kind} is declared at {where}"
            else:
                what = f"the {kind} {quoted(name)} and the {other_kind} {quoted(other)} are too much alike"
                why = f"both are {quoted(shared)} in the environment; the other is declared at {where}"
            findings.add("name_taken", what, where=location, why=why, fix=f"rename the {kind}")
        for key in keys:
            taken.setdefault(key, (kind, name, location))


def check_needs(plugins: Sequence[PluginDeclaration], findings: Findings) -> None:
    """Find ``needs`` that name no plugin, and those that lead in a circle."""
    known = {plugin.prefix: plugin for plugin in plugins}
    for plugin in plugins:
        for need in plugin.needs:
            if need in known:
                continue
            near = nearest(need, known)
            findings.add(
                "unknown_need",
                f"the plugin {quoted(plugin.prefix)} needs {quoted(need)}, which is not declared",
                where=plugin.location,
                why=f"the nearest prefix is {near}" if near else f"declared are {', '.join([*known][:10])}",
                fix=f'write needs: "{near}"' if near else "declare it, or remove the need",
            )
    _check_circles(known, findings)


def _check_circles(known: Mapping[str, PluginDeclaration], findings: Findings) -> None:
    done: set[str] = set()
    for start in known:
        path: dict[str, None] = {} if start in done else {start: None}
        stack = [] if start in done else [(start, iter(known[start].needs))]
        while stack:
            current, pending = stack[-1]
            need = next((each for each in pending if each in known and each not in done), None)
            if need is None:
                stack.pop()
                path.pop(current)
                done.add(current)
            elif need in path:
                circle = [*path][[*path].index(need) :]
                findings.add(
                    "circular_needs",
                    "the plugins need one another in a circle" if len(circle) > 1 else "the plugin needs itself",
                    where=known[current].location,
                    why=draw_path((*circle, need)),
                    fix="remove one of these needs" if len(circle) > 1 else "remove the need",
                )
            else:
                path[need] = None
                stack.append((need, iter(known[need].needs)))


def merge_apps(files: Iterable[Options], findings: Findings) -> AppDeclaration | None:
    """What all files say of the app together; they may complete but not contradict one another."""
    merged: AppDeclaration | None = None
    for file in files:
        if (values := file.values.get("toolkit.app")) is None:
            continue
        location = file.location("toolkit.app")
        app = AppDeclaration(
            name=values.get("name", ""),
            env_prefix=values.get("env_prefix"),
            version=values.get("version", ""),
            description=values.get("description", ""),
            handlers=tuple(values.get("handlers", ())),
            location=location,
        )
        _check_app(app, file, findings)
        merged = app if merged is None else _merge_two_apps(merged, app, findings)
    return merged


def _check_app(app: AppDeclaration, file: Options, findings: Findings) -> None:
    for index, module in enumerate(app.handlers):
        if _MODULE.fullmatch(module) is None or module.endswith(".py"):
            suggested = re.sub(r"[/\\]+", ".", module.removesuffix(".py")).strip(".")
            fits = _MODULE.fullmatch(suggested) is not None
            findings.add(
                "handlers_module",
                f"{quoted(module)} in (toolkit.app).handlers is no module name",
                where=file.location("toolkit.app", 1, index),
                why="handlers are named as Python imports them",
                fix=f'write handlers: "{suggested}"' if fits else 'write, for example, handlers: "shop.handlers"',
            )


def _merge_two_apps(one: AppDeclaration, other: AppDeclaration, findings: Findings) -> AppDeclaration:
    changes: dict[str, Any] = {"handlers": tuple(dict.fromkeys((*one.handlers, *other.handlers)))}
    # An empty env_prefix is meant, the other fields say nothing when they are empty.
    for name, unsaid in (("name", ""), ("env_prefix", None), ("version", ""), ("description", "")):
        first, second = getattr(one, name), getattr(other, name)
        if first == unsaid:
            changes[name] = second
        elif second not in (unsaid, first):
            findings.add(
                "app_conflict",
                f"(toolkit.app).{name} is {quoted(second)} here, and {quoted(first)} at {one.location}",
                where=other.location,
                fix="set it in one file only, or to the same value",
            )
    return attrs.evolve(one, **changes)
