"""What kind of value a setting takes: read off its annotation and unit, named for people, shown as text."""

from __future__ import annotations

import enum
import sys
import types
import typing
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from toolkit.plugins.setting import setting_info
from toolkit.runtime.config.units import show_duration, show_size

__all__ = ["SUPPORTED", "UnsupportedTypeError", "ValueType", "read_value_type"]

Kind = Literal["text", "integer", "number", "boolean", "duration", "size", "choice", "path", "list"]

#: For the reports: what a setting may be annotated with.
SUPPORTED: Final = (
    "str, int, float, bool, Path, timedelta, an Enum, a Literal, "
    "list/tuple/set/frozenset of one of them, or one of them | None"
)

_PLAIN: Final[dict[Any, Kind]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
    timedelta: "duration",
}
_UNITS: Final[dict[str, tuple[Kind, tuple[type, ...]]]] = {
    "seconds": ("duration", (float, int, timedelta)),
    "bytes": ("size", (int,)),
}
_EXPECTED: Final[dict[Kind, tuple[str, str]]] = {
    "text": ("text", "texts"),
    "integer": ("an integer", "integers"),
    "number": ("a number", "numbers"),
    "boolean": ("true or false", "booleans (true or false)"),
    "duration": ("a duration such as 5s, 1m30s or 500ms", "durations such as 5s, 1m30s or 500ms"),
    "size": ("a size such as 16MiB", "sizes such as 16MiB"),
    "path": ("a path", "paths"),
}


class UnsupportedTypeError(TypeError):
    """The annotation is none that text can be read as; the message says which and why."""


@attrs.frozen(kw_only=True)
class ValueType:
    """How text becomes a setting's value, and how the value is shown."""

    kind: Kind
    #: The class of the value, for a list that of the whole.
    python: Any
    #: What a list is made of.
    item: ValueType | None = None
    #: Shown text to value, in the order of declaration.
    choices: Mapping[str, Any] = attrs.field(factory=dict)
    #: Other texts that mean a choice: the names of an enum that is shown by its values.
    aliases: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """For tables: ``integer``, ``auto|console|json``, ``list of duration``."""
        if self.kind == "choice":
            return "|".join(self.choices)
        return f"list of {self.item.name}" if self.item is not None else self.kind

    @property
    def expected(self) -> str:
        """For reports: what the text should have been, after "expected"."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.item is None:
            return _EXPECTED[self.kind][0]
        if self.item.kind == "choice":
            return f"a comma-separated list of {', '.join(self.item.choices)}"
        return f"a comma-separated list of {_EXPECTED[self.item.kind][1]}"

    def show(self, value: Any) -> str:
        """Text that would be read as ``value``; empty for None."""
        if value is None:
            return ""
        if self.item is not None:
            return ",".join(self.item.show(item) for item in value)
        if self.kind == "choice":
            return next((text for text, choice in self.choices.items() if choice == value), str(value))
        if self.kind == "boolean":
            return "true" if value else "false"
        if self.kind == "duration":
            return show_duration(value.total_seconds() if isinstance(value, timedelta) else value)
        return show_size(value) if self.kind == "size" else str(value)


def read_value_type(cls: type, field: attrs.Attribute[Any]) -> ValueType:
    """How the text of ``field`` of ``cls`` is read.

    Raises:
        UnsupportedTypeError: its annotation cannot be evaluated, or is none of the supported ones.
    """
    annotation = _evaluate(cls, field)
    unit = setting_info(field).unit
    value_type = _read(annotation, annotation)
    if unit is None:
        return value_type
    kind, allowed = _UNITS[unit]
    if value_type.item is not None or value_type.python not in allowed:
        names = " or ".join(python.__name__ for python in allowed)
        raise UnsupportedTypeError(f"a setting in {unit} is annotated {names}, not {_name(annotation)}")
    return attrs.evolve(value_type, kind=kind)


def _evaluate(cls: type, field: attrs.Attribute[Any]) -> Any:
    # attrs declares its type as a class, and keeps whatever the annotation is.
    annotation: Any = field.type
    if annotation is None:
        raise UnsupportedTypeError("it has no annotation")
    if not isinstance(annotation, str):
        return annotation
    owner = next(base for base in cls.__mro__ if field.name in getattr(base, "__annotations__", {}))
    # A class of its own evaluates one annotation in the owner's module; get_type_hints of the
    # owner itself would fail for all fields when one name is missing.
    lone = type("lone", (), {"__annotations__": {"field": annotation}, "__module__": owner.__module__})
    try:
        hints = typing.get_type_hints(lone, localns=dict(vars(owner)), include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        module = sys.modules.get(owner.__module__)
        place = getattr(module, "__file__", None) or owner.__module__
        raise UnsupportedTypeError(
            f"its annotation {annotation!r} cannot be evaluated in {Path(place).name}: {error}"
        ) from error
    return hints["field"]


def _read(annotation: Any, whole: Any) -> ValueType:
    annotation = _unwrap(annotation)
    plain = _PLAIN.get(annotation) if isinstance(annotation, type) else None
    if plain is not None:
        return ValueType(kind=plain, python=annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal and all(isinstance(value, str | int) for value in arguments):
        return ValueType(kind="choice", python=annotation, choices={str(value): value for value in arguments})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _read_enum(annotation)
    container = origin or annotation
    if container in (list, tuple, set, frozenset):
        item = _read(_item(container, arguments, whole), whole)
        if item.item is None:
            return ValueType(kind="list", python=container, item=item)
    raise UnsupportedTypeError(f"{_name(whole)} is none of: {SUPPORTED}")


def _unwrap(annotation: Any) -> Any:
    """Without what says nothing about the text: Annotated, NewType, type aliases, and ``| None``."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _read_enum(annotation: type[enum.Enum]) -> ValueType:
    choices, aliases = {}, {}
    for name, member in annotation.__members__.items():
        if member.name == name:
            choices[member.value if isinstance(member.value, str) else name] = member
        aliases[name] = member
        aliases[str(member.value)] = member
    return ValueType(kind="choice", python=annotation, choices=choices, aliases=aliases)


def _item(container: Any, arguments: tuple[Any, ...], whole: Any) -> Any:
    if not arguments:
        return str
    if container is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        raise UnsupportedTypeError(f"{_name(whole)} is a tuple of fixed length; write tuple[T, ...]")
    return arguments[0]


def _name(annotation: Any) -> str:
    return (
        annotation.__qualname__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
    )
