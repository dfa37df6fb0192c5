"""Typed values to an attrs object, by cattrs; a failure is traced to its field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import cattrs

__all__ = ["Refusal", "build_settings", "describe_rule", "find_refusals"]


def _as_it_is(value: Any, _type: Any) -> Any:
    return value


#: The values are typed already, so that nothing is converted on the way.
_CONVERTER: Final = cattrs.Converter(forbid_extra_keys=True)
for _type in (str, int, float, bool, Path, timedelta):
    _CONVERTER.register_structure_hook(_type, _as_it_is)


@attrs.frozen(kw_only=True)
class Refusal:
    """A validator, or the class's own constructor, does not accept a value."""

    #: None when the class refuses its values together.
    field: attrs.Attribute[Any] | None
    error: Exception = attrs.field(repr=False)

    @property
    def message(self) -> str:
        """What was raised, in its own words; it may hold the value."""
        # The validators of attrs pass the field and the value on behind the message.
        arguments = self.error.args
        return arguments[0] if arguments and isinstance(arguments[0], str) else str(self.error)


def build_settings(cls: type[Any], values: Mapping[str, Any]) -> tuple[Any, list[Refusal]]:
    """The object of these values, or None and every field that refuses its value."""
    try:
        return _CONVERTER.structure(values, cls), []
    except cattrs.BaseValidationError as error:
        refusals = find_refusals(cls, values)
        return None, refusals or [Refusal(field=None, error=cause) for cause in _causes(error)]


def find_refusals(cls: type[Any], values: Mapping[str, Any], *, unknown: Collection[str] = ()) -> list[Refusal]:
    """Every field whose validator refuses its value, where the constructor would stop at the first.

    The values of the fields in ``unknown`` are not known: a validator that needs one of
    them to judge another field has its say once they are.
    """
    trial: Any = object.__new__(cls)
    fields = [field for field in attrs.fields(cls) if field.init and field.name not in unknown]
    for field in fields:
        object.__setattr__(trial, field.name, values[field.name] if field.name in values else _default(field, trial))
    refusals = []
    for field in fields:
        if field.validator is None or field.converter is not None:
            continue
        try:
            field.validator(trial, field, getattr(trial, field.name))
        except AttributeError as error:
            if error.obj is not trial or error.name not in unknown:
                refusals.append(Refusal(field=field, error=error))
        except Exception as error:  # noqa: BLE001 -- a validator raises what it likes, and each becomes a problem
            refusals.append(Refusal(field=field, error=error))
    return refusals


def describe_rule(field: attrs.Attribute[Any]) -> str:
    """What the field's validators ask for, without the value: for secrets, whose refusals are not quoted."""
    validator = field.validator
    parts = getattr(validator, "_validators", (validator,))
    return ", ".join(filter(None, (_describe_validator(part) for part in parts)))


def _describe_validator(validator: Any) -> str:
    if type(validator).__module__.startswith("attr"):
        return repr(validator).strip("<>")
    document = (getattr(validator, "__doc__", None) or "").strip()
    return document.splitlines()[0].rstrip(".") if document else getattr(validator, "__name__", "")


def _default(field: attrs.Attribute[Any], trial: object) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default.factory(trial) if default.takes_self else default.factory()
    return default


def _causes(error: cattrs.BaseValidationError) -> Iterator[Exception]:
    for cause in error.exceptions:
        if isinstance(cause, cattrs.BaseValidationError):
            yield from _causes(cause)
        else:
            yield cause
