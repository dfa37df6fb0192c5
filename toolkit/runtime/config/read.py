"""``read_config``: the manifest and the environment in, the whole configuration or every problem out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.errors import Problem
from toolkit.manifest import Manifest
from toolkit.plugins import Plugin
from toolkit.runtime.config.clashes import find_clashes
from toolkit.runtime.config.env_file import EnvFile
from toolkit.runtime.config.fallbacks import fallback_texts
from toolkit.runtime.config.given import Layer, Texts
from toolkit.runtime.config.model import Config, PluginConfig
from toolkit.runtime.config.prefix import EnvPrefix, join_names
from toolkit.runtime.config.reading import Reading, read_section
from toolkit.runtime.config.secret_text import read_secret_file
from toolkit.runtime.config.sections import Kind, sections_of
from toolkit.runtime.config.service_links import find_service_links
from toolkit.runtime.config.unknown import find_unknown
from toolkit.runtime.config.variables import list_variables
from toolkit.runtime.settings import RESERVED_FAMILIES, CommonSettings, RuntimeSettings

__all__ = ["read_config"]

_NOTHING_GIVEN: Mapping[str, Any] = {}


def read_config(
    manifest: Manifest,
    plugins: Mapping[str, Plugin[Any, Any]],
    *,
    env_prefix: EnvPrefix,
    environ: Mapping[str, str],
    env_files: Sequence[EnvFile] = (),
    app_settings: Sequence[type[Any]] = (),
    runtime_defaults: Mapping[str, str] = _NOTHING_GIVEN,
    dev_settings: Mapping[str, Mapping[str, str]] = _NOTHING_GIVEN,
    strict: bool = False,
    read_file: Callable[[str], str] = read_secret_file,
) -> Config:
    """Read every setting that the manifest, the app and the runtime declare; nothing is raised for what is wrong.

    A value comes from ``environ``, else from the last of ``env_files`` that has it, else
    from ``dev_settings`` (by plugin prefix and setting name), the manifest's
    ``settings`` or ``runtime_defaults`` (by name without the service prefix), else it is
    the class's default. An empty text is as good as none.

    ``plugins`` maps prefixes to their plugins; a declared prefix that is absent (its type
    is not known) is left out, and so are the variables below it. With ``strict`` an
    unknown variable is a problem and not a warning. ``read_file`` reads what ``NAME_FILE``
    names.
    """
    prefix = env_prefix.value
    sections = sections_of(manifest, plugins, app_settings, prefix)
    links = find_service_links(
        environ,
        legal={name for section in sections for setting in section.settings for name in setting.names},
        prefixes=_watched_prefixes(manifest, prefix),
    )
    texts = Texts(environ, env_files, ignored=links.names)
    fallbacks, fallback_problems = fallback_texts(manifest, sections, dev_settings, runtime_defaults)
    readings = [
        read_section(
            section,
            texts,
            fallbacks.get((section.owner.kind, section.owner.name), _NOTHING_GIVEN),
            resolve=plugins[section.owner.name].resolve if section.owner.kind == "plugin" else None,
            read_file=read_file,
        )
        for section in sections
    ]
    unknown = find_unknown(texts, sections, manifest, prefix)
    problems = [
        *env_prefix.problems,
        *(problem for file in env_files for problem in file.problems),
        *find_clashes(sections, prefix),
        *fallback_problems,
        *(problem for reading in readings for problem in reading.problems),
    ]
    warnings = [*env_prefix.warnings, *links.notices, *unknown.hints]
    (problems if strict else warnings).extend(unknown.misspelt)
    return _config(env_prefix, plugins, readings, problems, warnings)


def _watched_prefixes(manifest: Manifest, env_prefix: str) -> list[str]:
    """Names below these are ours, whether a setting of that name exists or not."""
    families = RESERVED_FAMILIES if env_prefix else ()
    return [join_names(env_prefix, name) for name in (*(plugin.prefix for plugin in manifest.plugins), *families)]


def _config(
    env_prefix: EnvPrefix,
    plugins: Mapping[str, Plugin[Any, Any]],
    readings: Sequence[Reading],
    problems: Sequence[Problem],
    warnings: Sequence[Problem],
) -> Config:
    by_kind: dict[Kind, list[Reading]] = {"plugin": [], "common": [], "app": [], "runtime": []}
    for reading in readings:
        by_kind[reading.section.owner.kind].append(reading)
    own, runtime = by_kind["plugin"], by_kind["runtime"][0].value
    common = {reading.section.owner.name: reading.value for reading in by_kind["common"]}
    return Config(
        env_prefix=env_prefix,
        plugins={
            reading.section.owner.name: _plugin_config(reading, plugins, common[reading.section.owner.name])
            for reading in own
            if reading.value is not None and common[reading.section.owner.name] is not None
        },
        runtime=RuntimeSettings() if runtime is None else runtime,
        app={reading.section.cls: reading.value for reading in by_kind["app"] if reading.value is not None},
        variables=list_variables(readings),
        from_environment={
            reading.section.owner.name: frozenset(
                name for name, given in reading.given.items() if given.layer in (Layer.ENVIRONMENT, Layer.ENV_FILE)
            )
            for reading in own
        },
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _plugin_config(reading: Reading, plugins: Mapping[str, Plugin[Any, Any]], common: CommonSettings) -> PluginConfig:
    prefix = reading.section.owner.name
    return PluginConfig(
        prefix=prefix,
        plugin=plugins[prefix],
        value=reading.value,
        critical=common.critical,
        startup_timeout=common.startup_timeout,
        check_interval=common.check_interval,
        check_timeout=common.check_timeout,
        given=frozenset(reading.given),
    )
