"""Everything that is known before anything opens: manifest, plugins, configuration and bindings, with all problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import attrs

from toolkit.errors import BindingError, CheckError, ConfigError, Problem
from toolkit.manifest import Manifest, ServerKind
from toolkit.plugins import Plugin
from toolkit.runtime.config import Config, EnvFile, EnvPrefix, join_names, pick_env_prefix, read_config
from toolkit.runtime.discovery import Discovery, discover_plugins
from toolkit.runtime.handlers import HandlerSet, load_handlers
from toolkit.runtime.plan import Plan, bind

__all__ = ["Setup", "prepare"]


@attrs.frozen(kw_only=True)
class Setup:
    """A service, read and checked, with nothing opened; ``raise_problems`` before it is run."""

    manifest: Manifest
    plugins: Mapping[str, Plugin[Any, Any]]
    env_prefix: EnvPrefix
    config: Config
    plan: Plan
    #: The modules that were searched for handlers; empty when none is named anywhere.
    handler_modules: tuple[str, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    #: What the manifest declares and this version does not serve, one sentence each.
    not_served: tuple[str, ...]

    def variable(self, *parts: str) -> str:
        """The full name of a variable: ``variable("pgsql", "HOST")`` is ``USER_SERVICE_PGSQL_HOST``."""
        return join_names(self.env_prefix.value, *parts)

    def raise_problems(self) -> None:
        """Raise everything that is wrong as one report.

        Raises:
            ConfigError: every problem is in the environment.
            BindingError: every problem is in the handlers.
            CheckError: there are several kinds.
        """
        if not self.problems:
            return
        kinds = {problem.code.partition(".")[0] for problem in self.problems}
        if kinds == {"config"}:
            raise ConfigError(self.problems)
        if kinds == {"binding"}:
            raise BindingError(self.problems)
        raise CheckError(self.problems)


def prepare(
    manifest: Manifest,
    *,
    handlers: Sequence[str | ModuleType] = (),
    environ: Mapping[str, str],
    env_files: Sequence[EnvFile] = (),
    env_prefix: str | None = None,
    project_env_prefix: str | None = None,
    runtime_defaults: Mapping[str, str] | None = None,
    dev_settings: Mapping[str, Mapping[str, str]] | None = None,
    replacements: Mapping[str, Plugin[Any, Any]] | None = None,
    strict_env: bool = False,
    allow_unimplemented: bool = False,
    require_handlers: bool = True,
) -> Setup:
    """Check all that can be checked without connecting anywhere; never raises for what a user got wrong."""
    modules = tuple(handlers) or (manifest.app.handlers if manifest.app else ())
    discovery = discover_plugins(manifest, replacements=replacements)
    found = load_handlers(modules)
    unhandled = not modules and not require_handlers
    plan = bind(
        found,
        manifest,
        discovery.plugins,
        allow_unimplemented=allow_unimplemented or not modules,
        not_served=[item.prefix for item in discovery.not_served],
    )
    prefix = pick_env_prefix(env_prefix, project_env_prefix, manifest)
    config = read_config(
        manifest,
        discovery.plugins,
        env_prefix=prefix,
        environ=environ,
        env_files=env_files,
        app_settings=tuple(sorted(plan.settings | found.settings, key=lambda cls: cls.__qualname__)),
        runtime_defaults=runtime_defaults or {},
        dev_settings=dev_settings or {},
        strict=strict_env,
    )
    missing = () if modules or unhandled or allow_unimplemented else _no_handlers(manifest, found)
    return Setup(
        manifest=manifest,
        plugins=discovery.plugins,
        env_prefix=prefix,
        config=config,
        plan=plan,
        handler_modules=tuple(item if isinstance(item, str) else item.__name__ for item in modules),
        problems=(*discovery.problems, *config.problems, *found.problems, *missing, *plan.problems),
        warnings=(*config.warnings, *plan.warnings),
        not_served=tuple(_list_not_served(manifest, plan, discovery)),
    )


def _no_handlers(manifest: Manifest, found: HandlerSet) -> tuple[Problem, ...]:
    served = [service for service in manifest.served if any(not method.route.is_routed for method in service.methods)]
    if not served or found.services:
        return ()
    first = served[0]
    return (
        Problem(
            code="binding.no_handlers",
            where=str(first.location),
            what=f"{first.full_name} is served, and no module with its handlers is named",
            fix=(
                "name the modules: --handlers my_service.handlers,\n"
                'or in the proto: option (toolkit.app) = {handlers: "my_service.handlers"};,\n'
                'or in pyproject.toml under [tool.toolkit]: handlers = ["my_service.handlers"]'
            ),
        ),
    )


def _list_not_served(manifest: Manifest, plan: Plan, discovery: Discovery) -> list[str]:
    names = {
        ServerKind.HTTP: "HTTP",
        ServerKind.WEBSOCKET: "WebSocket",
        ServerKind.WEBSOCKET_PROXY: "the WebSocket proxy",
    }
    lines = [
        f"{service.full_name} over {' and '.join(faces)}"
        for service in manifest.served
        if (faces := [name for kind, name in names.items() if kind in service.servers])
    ]
    lines.extend(f"the plugin {item.prefix!r} ({item.type}) of {item.location}" for item in discovery.not_served)
    lines.extend(f"the client {client.name!r} of {client.location}" for client in manifest.clients)
    lines.extend(plan.not_served)
    return lines
