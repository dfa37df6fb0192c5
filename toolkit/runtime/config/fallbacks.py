"""The texts below the environment: the manifest's ``settings``, development servers, the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.errors import Problem
from toolkit.manifest import Manifest, PluginDeclaration
from toolkit.manifest.names import nearest
from toolkit.runtime.config.given import Given, Layer
from toolkit.runtime.config.sections import Kind, Section, Setting

__all__ = ["Fallbacks", "fallback_texts"]

#: By section (kind and name) and field name.
Fallbacks = dict[tuple[Kind, str], dict[str, Given]]


def fallback_texts(
    manifest: Manifest,
    sections: Sequence[Section],
    dev_settings: Mapping[str, Mapping[str, str]],
    runtime_defaults: Mapping[str, str],
) -> tuple[Fallbacks, list[Problem]]:
    """All texts that count where the environment has none, and what is wrong with the manifest's.

    Raises:
        ValueError: ``dev_settings`` or ``runtime_defaults`` name a setting that does not exist.
    """
    by_owner = {(section.owner.kind, section.owner.name): section for section in sections}
    fallbacks: Fallbacks = {key: {} for key in by_owner}
    problems: list[Problem] = []
    for declaration in manifest.plugins:
        own, common = by_owner.get(("plugin", declaration.prefix)), by_owner.get(("common", declaration.prefix))
        if own is None or common is None or own.problems:
            continue
        for section, setting, given in _manifest_texts(declaration, own, common, problems):
            fallbacks[section.owner.kind, section.owner.name][setting.field.name] = given
        for name, text in dev_settings.get(declaration.prefix, {}).items():
            setting = _known(own, name)
            if text:
                given = Given(text=text, name=name, layer=Layer.DEV)
                fallbacks["plugin", declaration.prefix][setting.field.name] = given
    runtime = by_owner["runtime", "runtime"]
    for name, text in runtime_defaults.items():
        setting = _known(runtime, name)
        if text:
            given = Given(text=text, name=name, layer=Layer.COMMAND_LINE)
            fallbacks["runtime", "runtime"][setting.field.name] = given
    return fallbacks, problems


def _known(section: Section, name: str) -> Setting:
    setting = section.setting(name)
    if setting is None:
        raise ValueError(f"{section.owner.label} has no setting {name!r}")
    return setting


def _manifest_texts(
    declaration: PluginDeclaration, own: Section, common: Section, problems: list[Problem]
) -> list[tuple[Section, Setting, Given]]:
    found: dict[str, tuple[Section, Setting, Given]] = {}
    for name, text in declaration.settings.items():
        section = own if own.setting(name) is not None else common
        setting = section.setting(name)
        if setting is None:
            problems.append(_unknown(declaration, name, own, common))
        elif setting.secret:
            problems.append(_secret(declaration, name, setting))
        elif section is common and setting.key == "critical":
            problems.append(_critical(declaration, name))
        elif setting.name in found:
            problems.append(_twice(declaration, name, found[setting.name][2].name))
        elif text:
            given = Given(text=text, name=name, layer=Layer.MANIFEST, place=str(declaration.location))
            found[setting.name] = (section, setting, given)
    return list(found.values())


def _unknown(declaration: PluginDeclaration, name: str, own: Section, common: Section) -> Problem:
    legal = [setting.key for setting in own.settings if not setting.secret]
    # `critical` is no setting there, see below.
    legal.extend(setting.key for setting in common.settings if setting.key != "critical")
    meant = nearest(name, legal)
    return Problem(
        code="config.unknown_setting",
        what=f'settings["{name}"] of plugin "{declaration.prefix}" ({declaration.type}) does not exist',
        where=str(declaration.location),
        why=f"there are {', '.join(legal)}",
        fix=f'did you mean "{meant}"?' if meant else "remove it",
    )


def _secret(declaration: PluginDeclaration, name: str, setting: Setting) -> Problem:
    return Problem(
        code="config.secret_in_manifest",
        what=f'settings["{name}"] of plugin "{declaration.prefix}" ({declaration.type}) is a secret',
        where=str(declaration.location),
        why="a manifest is committed, shipped and shown to whoever asks a service for its descriptors",
        fix=f"remove it, replace the secret if it was a real one, and set {setting.name} or {setting.file_name}",
    )


def _critical(declaration: PluginDeclaration, name: str) -> Problem:
    return Problem(
        code="config.unknown_setting",
        what=f'settings["{name}"] of plugin "{declaration.prefix}" ({declaration.type}) does not exist',
        where=str(declaration.location),
        why="whether a plugin is critical is an option of its own",
        fix="write `critical: true` or `critical: false` beside its prefix",
    )


def _twice(declaration: PluginDeclaration, name: str, other: str) -> Problem:
    return Problem(
        code="config.setting_twice",
        what=f'settings["{name}"] and settings["{other}"] of plugin "{declaration.prefix}"'
        f" ({declaration.type}) are one setting",
        where=str(declaration.location),
        fix="remove one of them",
    )
