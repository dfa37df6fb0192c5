"""Every legal variable with the value in force, fit to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.runtime.config.given import Given, Layer
from toolkit.runtime.config.model import Variable
from toolkit.runtime.config.reading import Reading
from toolkit.runtime.config.secret_text import MASK, mask_credentials
from toolkit.runtime.config.sections import Setting

__all__ = ["list_variables"]


def list_variables(readings: Sequence[Reading]) -> tuple[Variable, ...]:
    """The variables of all sections, in their order."""
    return tuple(
        _variable(setting, reading, owner)
        for reading in readings
        for owner in [reading.section.owner.phrase]
        for setting in reading.section.settings
    )


def _variable(setting: Setting, reading: Reading, owner: str) -> Variable:
    given = reading.given.get(setting.field.name)
    in_manifest = given is not None and given.layer is Layer.MANIFEST
    origin, value = _in_force(setting, given, reading.value)
    return Variable(
        name=setting.name,
        kind=setting.owner.kind,
        section=setting.owner.name,
        setting=setting.key,
        owner=owner,
        type=setting.type.name,
        default=mask_credentials(given.text if given is not None and in_manifest else setting.shown_default),
        required=setting.required,
        secret=setting.secret,
        file_name=setting.file_name,
        origin=origin,
        is_set=given is not None,
        value=value,
        help=setting.info.help,
    )


def _in_force(setting: Setting, given: Given | None, built: Any) -> tuple[str, str]:
    default = None if setting.required else setting.default
    value = default if built is None else getattr(built, setting.field.name)
    if given is None:
        origin = setting.default_origin if value == default else "derived"
        if setting.required and built is None:
            origin = ""
        return origin, _shown(setting, value)
    if built is None:
        # Something is wrong, perhaps this very text.
        return given.origin, MASK if setting.secret else mask_credentials(given.text)
    return given.origin, _shown(setting, value)


def _shown(setting: Setting, value: Any) -> str:
    if setting.secret:
        return MASK if value not in (None, "") else ""
    return mask_credentials(setting.type.show(value))
