"""What a service's configuration is once it was read, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from toolkit.errors import Problem
from toolkit.plugins import Plugin
from toolkit.runtime.config.prefix import EnvPrefix
from toolkit.runtime.config.sections import Kind
from toolkit.runtime.settings import RuntimeSettings

__all__ = ["Config", "PluginConfig", "Variable"]


@attrs.frozen(kw_only=True)
class Variable:
    """One legal variable, as tables and ``.env.example`` show it; it never holds a secret."""

    #: In full: ``USER_SERVICE_PGSQL_HOST``.
    name: str
    kind: Kind
    #: The plugin's prefix, the settings class's name, or ``runtime``.
    section: str
    #: Its name there: ``host``.
    setting: str
    #: ``plugin "pgsql" (postgres_gorm), declared at user.proto:12``
    owner: str
    #: ``integer``, ``duration``, ``auto|console|json``.
    type: str
    #: As text that could be given; the manifest's setting counts as one. Empty: none, or a secret.
    default: str
    required: bool
    secret: bool
    #: The variable that names a file with the value; empty unless it is a secret.
    file_name: str
    #: ``environment``, ``.env:3``, ``user.proto:12``, ``default``, ``derived`` (from other settings).
    origin: str
    #: Whether something other than the class's default gave the value.
    is_set: bool
    #: The value in force as text; ``****`` for a secret that has one, empty when there is none.
    value: str
    help: str


@attrs.frozen(kw_only=True)
class PluginConfig:
    """The settings of one declared plugin, and the runtime's settings for it."""

    prefix: str
    plugin: Plugin[Any, Any]
    #: An object of the plugin's config class, resolved.
    value: Any
    #: The environment over the manifest over the plugin's own default.
    critical: bool
    #: These three in seconds.
    startup_timeout: float
    check_interval: float
    check_timeout: float
    #: Names of the plugin's own settings that are not left to their class default.
    given: frozenset[str]


@attrs.frozen(kw_only=True)
class Config:
    """A service's configuration, with all that is wrong with it."""

    env_prefix: EnvPrefix
    #: By prefix, in declaration order; a plugin with a problem is absent.
    plugins: Mapping[str, PluginConfig]
    #: All defaults when one of its own variables has a problem.
    runtime: RuntimeSettings
    #: The app's settings objects by class; a class with a problem is absent.
    app: Mapping[type[Any], Any]
    #: Every legal variable: the plugins', the app's, the runtime's.
    variables: tuple[Variable, ...]
    #: By prefix, the plugin's own settings that the process environment or an env file gives;
    #: known even where something is wrong.
    from_environment: Mapping[str, frozenset[str]]
    #: Nothing may start while there is one.
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def variable(self, setting: str, *, plugin: str | None = None) -> Variable:
        """The variable of a setting of the plugin under this prefix, or of the runtime: for reports of what it causes.

        Raises:
            KeyError: there is no such setting.
        """
        for variable in self.variables:
            ours = variable.kind == "runtime" if plugin is None else variable.kind in ("plugin", "common")
            if ours and variable.setting == setting and plugin in (None, variable.section):
                return variable
        raise KeyError(setting)
