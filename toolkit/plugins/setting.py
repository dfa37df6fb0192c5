"""One setting, declared once: default, help, unit, secret and validator stand on the attrs field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs

__all__ = ["SettingInfo", "setting", "setting_info"]

_KEY = "toolkit.setting"


@attrs.frozen(kw_only=True)
class SettingInfo:
    """What the environment table, the masks and the docs know of a setting beyond its attrs field."""

    help: str
    #: How text becomes a number: ``seconds`` reads ``1m30s``, ``bytes`` reads ``16MiB``.
    unit: Literal["seconds", "bytes"] | None
    #: Never shown, in no report, log, repr or table; may be read from the file that ``NAME_FILE`` names.
    secret: bool


def setting(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002 -- the field's own word for it
    unit: Literal["seconds", "bytes"] | None = None,
    secret: bool = False,
    validator: Callable[[Any, Any, Any], Any] | Sequence[Callable[[Any, Any, Any], Any]] | None = None,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """Declare a setting: an :func:`attrs.field` that also knows its help, unit and secrecy.

    The setting's name in the environment is the field's name in upper case. Without a
    default it is required. Secret settings are left out of the class's repr.
    """
    options: dict[str, Any] = {"factory": factory} if factory is not None else {"default": default}
    return attrs.field(
        **options,
        validator=validator,
        repr=not secret,
        metadata={_KEY: SettingInfo(help=help, unit=unit, secret=secret)},
    )


def setting_info(field: attrs.Attribute[Any]) -> SettingInfo:
    """What was declared of this field; a plain attrs field has no help, no unit and is no secret."""
    info: SettingInfo = field.metadata.get(_KEY) or SettingInfo(help="", unit=None, secret=False)
    return info
