"""Reading one section: find its texts, cast them, build the object, let the plugin resolve it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import attrs

from toolkit.errors import Problem, SettingError
from toolkit.runtime.config import wording
from toolkit.runtime.config.casting import cast_text
from toolkit.runtime.config.given import Given, Texts
from toolkit.runtime.config.secret_text import strip_newline
from toolkit.runtime.config.sections import Section, Setting
from toolkit.runtime.config.structure import Refusal, build_settings, find_refusals

__all__ = ["Reading", "read_section"]

Resolve = Callable[[Any, frozenset[str]], Any]


@attrs.frozen(kw_only=True)
class Reading:
    """What became of one section."""

    section: Section
    #: None when there is a problem.
    value: Any
    #: By field name, the texts that were given, right or wrong.
    given: Mapping[str, Given]
    problems: tuple[Problem, ...]


def read_section(
    section: Section,
    texts: Texts,
    fallbacks: Mapping[str, Given],
    *,
    resolve: Resolve | None,
    read_file: Callable[[str], str],
) -> Reading:
    """Read the settings of one section, with all that is wrong with them."""
    given: dict[str, Given] = {}
    values: dict[str, Any] = dict(section.typed)
    unknown: set[str] = set()
    problems: list[Problem] = list(section.problems)
    for setting in section.settings:
        found = _find(setting, texts, fallbacks, read_file)
        if isinstance(found, Given):
            given[setting.field.name] = found
            found = _cast(setting, found, values)
        elif found is None and setting.required:
            found = wording.missing(setting)
        if found is not None:
            problems.append(found)
            unknown.add(setting.field.name)
    secrets = _secrets(section, given)
    value = None
    if section.problems:
        pass  # the class itself is wrong
    elif unknown:
        refusals = find_refusals(section.cls, values, unknown=unknown)
        problems.extend(_refusal_problem(section, refusal, given, secrets) for refusal in refusals)
    else:
        value, refusals = build_settings(section.cls, values)
        problems.extend(_refusal_problem(section, refusal, given, secrets) for refusal in refusals)
        if value is not None and resolve is not None:
            value, problem = _resolve(section, resolve, value, given, secrets)
            problems.extend(problem)
    return Reading(section=section, value=value, given=given, problems=tuple(problems))


def _find(
    setting: Setting, texts: Texts, fallbacks: Mapping[str, Given], read_file: Callable[[str], str]
) -> Given | Problem | None:
    found = texts.find(setting.name)
    file = texts.find(setting.file_name) if setting.secret else None
    if file is None:
        return found or fallbacks.get(setting.field.name)
    if found is not None:
        return wording.both_given(setting, found, file)
    try:
        text = strip_newline(read_file(file.text))
    except OSError as error:
        return wording.unreadable_file(setting, file, error.strerror or type(error).__name__)
    except ValueError as error:
        return wording.unreadable_file(setting, file, str(error))
    if not text:
        return wording.unreadable_file(setting, file, "it is empty")
    return attrs.evolve(file, text=text, from_file=True)


def _cast(setting: Setting, given: Given, values: dict[str, Any]) -> Problem | None:
    try:
        values[setting.field.name] = cast_text(setting.name, given.text, setting.type)
    except ValueError as error:
        return wording.unreadable_text(setting, given, str(error))
    return None


def _secrets(section: Section, given: Mapping[str, Given]) -> tuple[str, ...]:
    return tuple(
        given[setting.field.name].text for setting in section.settings if setting.secret and setting.field.name in given
    )


def _refusal_problem(
    section: Section, refusal: Refusal, given: Mapping[str, Given], secrets: tuple[str, ...]
) -> Problem:
    if isinstance(refusal.error, SettingError):
        return _setting_problem(section, refusal.error, given, secrets)
    if refusal.field is None:
        return wording.refused_together(section, refusal, secrets)
    setting = next(setting for setting in section.settings if setting.field.name == refusal.field.name)
    return wording.refused(setting, given.get(refusal.field.name), refusal, secrets)


def _setting_problem(
    section: Section, error: SettingError, given: Mapping[str, Given], secrets: tuple[str, ...]
) -> Problem:
    setting = section.setting(error.setting)
    found = given.get(setting.field.name) if setting is not None else None
    return wording.refused_setting(section, setting, found, error, secrets)


def _resolve(
    section: Section, resolve: Resolve, value: Any, given: Mapping[str, Given], secrets: tuple[str, ...]
) -> tuple[Any, list[Problem]]:
    try:
        return resolve(value, frozenset(given)), []
    except SettingError as error:
        return None, [_setting_problem(section, error, given, secrets)]
    except Exception as error:  # noqa: BLE001 -- a plugin's defect over what the user set is one more problem
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{PurePath(last.filename).name}:{last.lineno} {last.name}"
        return None, [wording.failed_resolving(section, error, place, secrets)]
