"""The sentences of the reports. Whatever may be a secret is masked here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from toolkit.errors import Problem, SettingError
from toolkit.runtime.config.given import Given, Layer
from toolkit.runtime.config.secret_text import MASK, mask_credentials, quote, repeats_secret
from toolkit.runtime.config.sections import Section, Setting
from toolkit.runtime.config.structure import Refusal, describe_rule

__all__ = [
    "both_given",
    "failed_resolving",
    "missing",
    "refused",
    "refused_setting",
    "refused_together",
    "unreadable_file",
    "unreadable_text",
]

_REPEATS = "the message is withheld, for it repeats part of a secret"
_MAY_REPEAT = "the message is withheld, for it may repeat part of a secret"


def missing(setting: Setting) -> Problem:
    """A required setting was not given."""
    file = f", or {setting.file_name} to the path of a file that holds it" if setting.secret else ""
    return Problem(
        code="config.missing",
        what="required, and not set",
        where=setting.name,
        why=f"{_role(setting)}: {setting.info.help}" if setting.info.help else _role(setting),
        fix=f"set {setting.name} ({setting.type.expected}){file}",
    )


def unreadable_text(setting: Setting, given: Given, hint: str) -> Problem:
    """The text does not fit the type; the hint may hold it."""
    value = MASK if setting.secret else quote(given.text)
    hint = "" if setting.secret or not hint else f": {hint}"
    return Problem(
        code="config.invalid",
        what=f"expected {setting.type.expected}, got {value}{hint}",
        where=setting.name,
        why=_origin(setting, given),
        fix=_remedy(setting, given),
    )


def refused(setting: Setting, given: Given | None, refusal: Refusal, secrets: Iterable[str]) -> Problem:
    """A validator does not accept the value."""
    if setting.secret:
        rule = describe_rule(refusal.field) if refusal.field is not None else ""
        what = f"the value {MASK} is not accepted{f' ({rule})' if rule else ''}"
    else:
        shown = quote(given.text) if given is not None else setting.shown_default
        what = _REPEATS if repeats_secret(refusal.message, secrets) else mask_credentials(refusal.message)
        value = re.escape(shown.strip("'\""))
        if not re.search(rf"(?<![\w.]){value}(?![\w.])", what):
            what = f"{what}, got {shown}"
    return Problem(
        code="config.invalid",
        what=what,
        where=setting.name,
        why=_origin(setting, given),
        fix=_remedy(setting, given),
    )


def refused_together(section: Section, refusal: Refusal, secrets: Iterable[str]) -> Problem:
    """The class's own constructor does not accept the values."""
    message = _MAY_REPEAT if any(secrets) else refusal.message
    return Problem(
        code="config.invalid",
        what=f"{section.cls.__qualname__} refuses its settings: {message}",
        where=section.owner.location,
        why=f"it declares the settings of {section.owner.label}",
        fix="correct the settings that the message is about",
    )


def refused_setting(
    section: Section, setting: Setting | None, given: Given | None, error: SettingError, secrets: Iterable[str]
) -> Problem:
    """The plugin found that one setting does not go with the others."""
    secrets = tuple(secrets)
    what = _REPEATS if repeats_secret(error.what, secrets) else error.what
    fix = "" if repeats_secret(error.fix, secrets) else error.fix
    if setting is None:
        return Problem(
            code="config.contradiction",
            what=f"{error.setting}: {what}",
            where=section.owner.location,
            why=section.owner.label,
            fix=fix or "check the settings of this plugin",
        )
    return Problem(
        code="config.contradiction",
        what=what,
        where=setting.name,
        why=_origin(setting, given),
        fix=fix or _remedy(setting, given),
    )


def failed_resolving(section: Section, error: Exception, place: str, secrets: Iterable[str]) -> Problem:
    """The plugin's own code failed over the settings."""
    # A parser that met a malformed URL quotes whatever piece of it: no search finds all of those.
    message = _MAY_REPEAT if any(secrets) else str(error)
    return Problem(
        code="config.plugin_failed",
        what=f"{section.owner.label} cannot make sense of its settings: {type(error).__name__}: {message}",
        where=place,
        why=section.owner.phrase,
        fix="check the settings of this plugin; the plugin should have raised a SettingError that names one",
    )


def both_given(setting: Setting, value: Given, file: Given) -> Problem:
    """A secret is given twice."""
    return Problem(
        code="config.secret_twice",
        what=f"{setting.name} and {setting.file_name} are both set",
        where=setting.name,
        why=f"{setting.name} is {value.phrase}\n{setting.file_name} is {file.phrase}\n{_role(setting)}",
        fix="remove one of them",
    )


def unreadable_file(setting: Setting, file: Given, cause: str) -> Problem:
    """The file that a secret should be read from has none."""
    return Problem(
        code="config.secret_file",
        what=f"cannot read the secret from {quote(file.text)}: {cause}",
        where=setting.file_name,
        why=f"{file.phrase}; {_role(setting)}",
        fix=f"set {setting.file_name} to a file that holds the secret, or set {setting.name}",
    )


def _role(setting: Setting) -> str:
    return f'it is "{setting.key}" of {setting.owner.phrase}'


def _origin(setting: Setting, given: Given | None) -> str:
    if given is None:
        return f"nothing sets it, so this is its default; {_role(setting)}"
    if given.from_file:
        return f"read from the file that {given.name} names, {given.phrase}; {_role(setting)}"
    return f"{given.phrase}; {_role(setting)}"


def _remedy(setting: Setting, given: Given | None) -> str:
    if given is None:
        return f"set {setting.name}"
    if given.from_file:
        return "correct the content of the file"
    match given.layer:
        case Layer.ENVIRONMENT:
            remedy = f"correct {setting.name} in the environment"
        case Layer.MANIFEST:
            return f'correct settings["{given.name}"] at {given.place}, or set {setting.name}'
        case Layer.ENV_FILE:
            remedy = f"correct {given.place}"
        case _:
            return f"set {setting.name}"
    if setting.required:
        return remedy
    default = setting.shown_default
    return f"{remedy}, or remove it to use the default {default}" if default else f"{remedy}, or remove it"
