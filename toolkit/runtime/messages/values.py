"""Single values: what a field's type is in Python, read from a message and written to one."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = [
    "SCALARS",
    "WELL_KNOWN",
    "ConversionError",
    "WellKnown",
    "class_of",
    "describe_field",
    "map_fields",
    "read_enum",
    "write_enum",
]


class ConversionError(ValueError):
    """A value does not fit; ``path`` names the field, and ``reason`` holds no value of the message."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}" if path else reason)

    def under(self, name: str) -> ConversionError:
        """The same error as seen from the message that holds the field ``name``."""
        return ConversionError(f"{name}.{self.path}" if self.path else name, self.reason)


#: Scalar kinds of the proto language by their Python type; enums and messages are not among them.
SCALARS: Final[Mapping[int, type]] = {
    FieldDescriptor.TYPE_DOUBLE: float,
    FieldDescriptor.TYPE_FLOAT: float,
    FieldDescriptor.TYPE_INT64: int,
    FieldDescriptor.TYPE_UINT64: int,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_FIXED64: int,
    FieldDescriptor.TYPE_FIXED32: int,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: bytes,
    FieldDescriptor.TYPE_UINT32: int,
    FieldDescriptor.TYPE_SFIXED32: int,
    FieldDescriptor.TYPE_SFIXED64: int,
    FieldDescriptor.TYPE_SINT32: int,
    FieldDescriptor.TYPE_SINT64: int,
}

_PROTO_NAMES: Final = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True, eq=False)
class WellKnown:
    """A message of ``google.protobuf`` that has a native Python value."""

    #: What an annotation may say; the first is the natural one.
    types: tuple[Any, ...]
    read: Callable[[Any], Any]
    #: Message class and value to message.
    write: Callable[[Any, Any], Any]


def _read_timestamp(message: Any) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise ConversionError("", "is beyond the year 9999") from None


def _write_timestamp(cls: Any, value: Any) -> Any:
    if not isinstance(value, datetime):
        raise TypeError(f"expected datetime, got {type(value).__name__}")
    # Without a time zone it is UTC, as protobuf itself takes it.
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
    return cls(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def _read_duration(message: Any) -> timedelta:
    try:
        # Towards zero, as the two parts of a negative duration are both negative.
        return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))
    except OverflowError:
        raise ConversionError("", "is longer than a timedelta") from None


def _write_duration(cls: Any, value: Any) -> Any:
    if not isinstance(value, timedelta):
        raise TypeError(f"expected timedelta, got {type(value).__name__}")
    sign = -1 if value.days < 0 else 1
    size = abs(value)
    return cls(seconds=sign * (size.days * 86400 + size.seconds), nanos=sign * size.microseconds * 1000)


def _read_wrapper(message: Any) -> Any:
    return message.value


def _write_wrapper(cls: Any, value: Any) -> Any:
    return cls(value=value)


def _read_json(message: Any) -> Any:
    """The JSON value of a Struct, ListValue or Value."""
    kind = message.DESCRIPTOR.full_name.rpartition(".")[2]
    if kind == "Struct":
        return {key: _read_json(value) for key, value in message.fields.items()}
    if kind == "ListValue":
        return [_read_json(value) for value in message.values]
    which = message.WhichOneof("kind")
    if which is None or which == "null_value":
        return None
    value = getattr(message, which)
    return _read_json(value) if which in ("struct_value", "list_value") else value


def _write_struct(cls: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected dict, got {type(value).__name__}")
    message = cls()
    message.update(dict(value))
    return message


def _write_list(cls: Any, value: Any) -> Any:
    message = cls()
    message.extend(list(value))
    return message


def _write_value(cls: Any, value: Any) -> Any:
    if value is None:
        return cls(null_value=0)
    if isinstance(value, bool):
        return cls(bool_value=value)
    if isinstance(value, int | float):
        return cls(number_value=value)
    if isinstance(value, str):
        return cls(string_value=value)
    message = cls()
    if isinstance(value, Mapping):
        message.struct_value.update(dict(value))
        message.struct_value.SetInParent()
    else:
        message.list_value.extend(list(value))
        message.list_value.SetInParent()
    return message


def _read_mask(message: Any) -> list[str]:
    return list(message.paths)


def _write_mask(cls: Any, value: Any) -> Any:
    return cls(paths=value)


def _wrapper(native: type) -> WellKnown:
    return WellKnown(types=(native,), read=_read_wrapper, write=_write_wrapper)


WELL_KNOWN: Final[Mapping[str, WellKnown]] = {
    "google.protobuf.Timestamp": WellKnown(types=(datetime,), read=_read_timestamp, write=_write_timestamp),
    "google.protobuf.Duration": WellKnown(types=(timedelta,), read=_read_duration, write=_write_duration),
    "google.protobuf.DoubleValue": _wrapper(float),
    "google.protobuf.FloatValue": _wrapper(float),
    "google.protobuf.Int64Value": _wrapper(int),
    "google.protobuf.UInt64Value": _wrapper(int),
    "google.protobuf.Int32Value": _wrapper(int),
    "google.protobuf.UInt32Value": _wrapper(int),
    "google.protobuf.BoolValue": _wrapper(bool),
    "google.protobuf.StringValue": _wrapper(str),
    "google.protobuf.BytesValue": _wrapper(bytes),
    "google.protobuf.Struct": WellKnown(types=(dict, dict[str, Any]), read=_read_json, write=_write_struct),
    "google.protobuf.ListValue": WellKnown(types=(list, list[Any]), read=_read_json, write=_write_list),
    "google.protobuf.Value": WellKnown(types=(Any, object), read=_read_json, write=_write_value),
    "google.protobuf.FieldMask": WellKnown(types=(list[str], list), read=_read_mask, write=_write_mask),
}


def class_of(descriptor: Descriptor) -> type[Message]:
    """The message class that belongs to the descriptor's own pool."""
    found: Any = message_factory.GetMessageClass(descriptor)
    return found  # type: ignore[no-any-return]


def map_fields(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """Key and value of a map; None for a field that is no map."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def read_enum(descriptor: EnumDescriptor, wanted: Any) -> Callable[[int], Any] | str:
    """How a number becomes what ``wanted`` says, or why it can't."""
    names = {value.number: value.name for value in reversed(descriptor.values)}
    if wanted is int:
        return lambda number: number
    if wanted is str:
        return _lookup(names)
    if not (isinstance(wanted, type) and issubclass(wanted, enum.Enum)):
        return ""
    members: dict[int, Any] = {}
    for value in descriptor.values:
        member = _member(wanted, value.name, value.number)
        if member is None:
            return f"{wanted.__name__} has no member for {value.name} = {value.number}"
        members[value.number] = member
    return _lookup(members)


def _lookup(values: Mapping[int, Any]) -> Callable[[int], Any]:
    def look_up(number: int) -> Any:
        try:
            return values[number]
        except KeyError:
            raise ConversionError("", f"has no value {number}") from None

    return look_up


def _member(cls: type[enum.Enum], name: str, number: int) -> enum.Enum | None:
    by_value = number if issubclass(cls, int) else name
    for member in cls:
        if member.value == by_value:
            return member
    return cls.__members__.get(name)


def write_enum(descriptor: EnumDescriptor, value: Any) -> int:
    """The number of an enum's value, given as number, name or member of a Python enum.

    Raises:
        ValueError: the enum has no such name.
        TypeError: it is none of these.
    """
    if isinstance(value, enum.Enum) and not isinstance(value, int | str):
        value = value.value if isinstance(value.value, str) and value.value in descriptor.values_by_name else value.name
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        raise TypeError(f"expected a name or number of {descriptor.full_name}, got {type(value).__name__}")
    found = descriptor.values_by_name.get(str(value.value) if isinstance(value, enum.Enum) else value)
    if found is None:
        names = ", ".join(item.name for item in descriptor.values)
        raise ValueError(f"{descriptor.full_name} has no value {str(value)!r} (there are: {names})")
    return found.number


def describe_field(field: FieldDescriptor) -> tuple[str, str]:
    """A field's type in the proto language, and in Python: ``("repeated int64", "list[int]")``."""
    entry = map_fields(field)
    if entry is not None:
        (proto_key, python_key), (proto_value, python_value) = map(_describe_single, entry)
        return f"map<{proto_key}, {proto_value}>", f"dict[{python_key}, {python_value}]"
    proto, python = _describe_single(field)
    if field.is_repeated:
        return f"repeated {proto}", f"list[{python}]"
    return proto, python if field.message_type is None else f"{python} | None"


def _describe_single(field: FieldDescriptor) -> tuple[str, str]:
    if field.enum_type is not None:
        return field.enum_type.full_name, "str"
    if field.message_type is None:
        return _PROTO_NAMES[field.type], SCALARS[field.type].__name__
    known = WELL_KNOWN.get(field.message_type.full_name)
    if known is None:
        return field.message_type.full_name, "dict"
    return field.message_type.full_name, getattr(known.types[0], "__name__", "Any")
