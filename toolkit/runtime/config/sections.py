"""Every legal variable, before any is read: sections of settings, each an attrs class under a name prefix."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest, PluginDeclaration
from toolkit.plugins import Plugin, SettingInfo, setting_info
from toolkit.runtime.config.prefix import join_names
from toolkit.runtime.config.value_type import UnsupportedTypeError, ValueType, read_value_type
from toolkit.runtime.settings import CommonSettings, RuntimeSettings

__all__ = ["Kind", "Owner", "Section", "Setting", "app_section", "common_section", "plugin_section", "runtime_section"]

Kind = Literal["plugin", "common", "runtime", "app"]


@attrs.frozen(kw_only=True)
class Owner:
    """Who declared a section's settings."""

    kind: Kind
    #: The plugin's prefix or the class's name.
    name: str
    #: For reports: ``plugin "pgsql" (postgres_gorm)``.
    label: str
    #: Where a person would change it.
    fix: str
    _locate: Callable[[], str] = attrs.field(eq=False)

    @property
    def location(self) -> str:
        """``user.proto:12``, ``limits.py:9``, or empty for the runtime's own."""
        return self._locate()

    @property
    def phrase(self) -> str:
        """The label with the location."""
        location = self.location
        return f"{self.label}, declared at {location}" if location else self.label


@attrs.frozen(kw_only=True)
class Setting:
    """One legal variable."""

    #: In full: ``USER_SERVICE_PGSQL_HOST``.
    name: str
    field: attrs.Attribute[Any]
    type: ValueType
    owner: Owner
    #: What holds while nothing is given; NOTHING when it is required.
    default: Any = attrs.field(repr=False)
    #: ``default``, or the ``.proto`` line that decides it.
    default_origin: str = "default"

    @property
    def key(self) -> str:
        """The name within its section, as the manifest's ``settings`` have it."""
        return _key(self.field)

    @property
    def info(self) -> SettingInfo:
        """Help, unit and secrecy."""
        return setting_info(self.field)

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return self.info.secret

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is attrs.NOTHING

    @property
    def file_name(self) -> str:
        """The variable that names a file with the value; empty unless it is a secret."""
        return f"{self.name}_FILE" if self.secret else ""

    @property
    def names(self) -> tuple[str, ...]:
        """All variables that it is read from."""
        return (self.name, self.file_name) if self.secret else (self.name,)

    @property
    def shown_default(self) -> str:
        """The default as text; empty when there is none or it is a secret."""
        return "" if self.required or self.secret else self.type.show(self.default)


@attrs.frozen(kw_only=True)
class Section:
    """The settings of one attrs class."""

    owner: Owner
    cls: type[Any]
    settings: tuple[Setting, ...]
    #: What is wrong with the class itself; it is then not read.
    problems: tuple[Problem, ...] = ()
    #: Defaults that are typed already, by field name.
    typed: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def setting(self, key: str) -> Setting | None:
        """The setting of this name, in whatever case."""
        return next((setting for setting in self.settings if setting.key == key.lower()), None)


def plugin_section(declaration: PluginDeclaration, plugin: Plugin[Any, Any], env_prefix: str) -> Section:
    """A plugin's own settings."""
    return _section(_plugin_owner("plugin", declaration), plugin.config, join_names(env_prefix, declaration.prefix))


def common_section(declaration: PluginDeclaration, plugin: Plugin[Any, Any], env_prefix: str) -> Section:
    """The settings that every plugin has; the manifest over the plugin says whether it is critical."""
    critical = plugin.critical if declaration.critical is None else declaration.critical
    origin = "default" if declaration.critical is None else str(declaration.location)
    section = _section(
        _plugin_owner("common", declaration),
        CommonSettings,
        join_names(env_prefix, declaration.prefix),
        typed={"critical": critical},
    )
    settings = [
        attrs.evolve(setting, default_origin=origin) if setting.key == "critical" else setting
        for setting in section.settings
    ]
    return attrs.evolve(section, settings=tuple(settings))


def runtime_section(env_prefix: str) -> Section:
    """The runtime's own settings."""
    owner = Owner(kind="runtime", name="runtime", label="the runtime", fix="its names are fixed", locate=lambda: "")
    return _section(owner, RuntimeSettings, env_prefix)


def app_section(cls: type[Any], env_prefix: str) -> Section:
    """The settings of one of the app's classes."""
    owner = Owner(
        kind="app",
        name=cls.__qualname__,
        label=f"settings class {cls.__qualname__}",
        fix=f"rename the field in {cls.__qualname__}",
        locate=lambda: _source(cls),
    )
    return _section(owner, cls, env_prefix)


def sections_of(
    manifest: Manifest,
    plugins: Mapping[str, Plugin[Any, Any]],
    app_settings: Sequence[type[Any]],
    env_prefix: str,
) -> tuple[Section, ...]:
    """All sections: each plugin's own and common settings, the app's classes, the runtime's own."""
    sections = []
    for declaration in manifest.plugins:
        plugin = plugins.get(declaration.prefix)
        if plugin is not None:
            sections.append(plugin_section(declaration, plugin, env_prefix))
            sections.append(common_section(declaration, plugin, env_prefix))
    sections.extend(app_section(cls, env_prefix) for cls in dict.fromkeys(app_settings))
    return (*sections, runtime_section(env_prefix))


def _plugin_owner(kind: Literal["plugin", "common"], declaration: PluginDeclaration) -> Owner:
    return Owner(
        kind=kind,
        name=declaration.prefix,
        label=f'plugin "{declaration.prefix}" ({declaration.type})',
        fix=f'give plugin "{declaration.prefix}" another prefix at {declaration.location}',
        locate=lambda: str(declaration.location),
    )


def _section(owner: Owner, cls: type[Any], name_prefix: str, *, typed: Mapping[str, Any] | None = None) -> Section:
    if not attrs.has(cls):
        problem = Problem(
            code="config.not_attrs",
            what=f"{cls.__qualname__} is no attrs class",
            where=_source(cls),
            why=f"it declares the settings of {owner.label}",
            fix="decorate it with @attrs.frozen(kw_only=True), and declare its fields with setting(...)",
        )
        return Section(owner=owner, cls=cls, settings=(), problems=(problem,))
    typed = typed or {}
    settings, problems = [], []
    for field in attrs.fields(cls):
        if not field.init:
            continue
        try:
            value_type = read_value_type(cls, field)
        except UnsupportedTypeError as error:
            problems.append(_unsupported(owner, cls, field, error))
            continue
        settings.append(
            Setting(
                name=join_names(name_prefix, _key(field)),
                field=field,
                type=value_type,
                owner=owner,
                default=typed[field.name] if field.name in typed else _default(field),
            )
        )
    return Section(owner=owner, cls=cls, settings=tuple(settings), problems=tuple(problems), typed=typed)


def _key(field: attrs.Attribute[Any]) -> str:
    return (field.alias or field.name).lower()


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        # A default computed from the other fields is not known before they are.
        return None if default.takes_self else default.factory()
    return default


def _unsupported(owner: Owner, cls: type[Any], field: attrs.Attribute[Any], error: UnsupportedTypeError) -> Problem:
    return Problem(
        code="config.unsupported_type",
        what=f"{cls.__qualname__}.{field.name} cannot be read from text: {error}",
        where=_source(cls),
        why=f"it declares a setting of {owner.label}",
        fix="annotate it with a supported type",
    )


def _source(cls: type[Any]) -> str:
    try:
        line = inspect.getsourcelines(cls)[1]
        file = inspect.getsourcefile(cls)
    except (OSError, TypeError):
        # Made at run time, or shipped without its source.
        return cls.__module__
    return f"{PurePath(file).name}:{line}" if file else cls.__module__
