"""Replies: dicts, attrs instances and messages of other pools, written as the declared message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from toolkit.manifest.names import nearest
from toolkit.runtime.messages.values import WELL_KNOWN, class_of, map_fields, write_enum

__all__ = ["Writer"]


class Writer:
    """Writes native values as one kind of message; nested messages have writers of their own."""

    def __init__(self, descriptor: Descriptor, writers: dict[Descriptor, Writer]) -> None:
        self._descriptor = descriptor
        self._class = class_of(descriptor)
        # Entered before it is filled: a message may hold itself.
        writers[descriptor] = self
        self._fields = {field.name: _field_writer(field, writers) for field in descriptor.fields}
        self._oneofs = [[field.name for field in oneof.fields] for oneof in descriptor.oneofs if len(oneof.fields) > 1]
        self._attributes: dict[type, tuple[tuple[str, str], ...]] = {}

    def write(self, value: Any) -> Message:
        """The message for a dict, an attrs instance or a message of the same full name.

        Raises:
            TypeError: it is none of these, or a field has a value of another type.
            ValueError: a field or an enum's name that does not exist, or a number out of range.
        """
        if isinstance(value, Message):
            return self._adopt(value)
        if isinstance(value, Mapping):
            return self._build(value.items())
        if attrs.has(type(value)):
            names = self._attributes.get(type(value)) or self._read_attributes(type(value))
            return self._build((field, getattr(value, attribute)) for attribute, field in names)
        raise TypeError(
            f"expected {self._descriptor.full_name} as a message, a dict or an attrs instance, got {_name(value)}"
        )

    def _adopt(self, message: Message) -> Message:
        if message.DESCRIPTOR.full_name != self._descriptor.full_name:
            raise TypeError(f"expected {self._descriptor.full_name}, got {message.DESCRIPTOR.full_name}")
        if type(message) is self._class:
            return message
        return self._class.FromString(message.SerializeToString())

    def _read_attributes(self, cls: type) -> tuple[tuple[str, str], ...]:
        names = []
        for attribute in attrs.fields(cls):
            field = next((name for name in (attribute.name, attribute.alias) if name in self._fields), None)
            if field is not None:
                names.append((attribute.name, field))
            elif attribute.init:
                raise ValueError(self._no_such_field(attribute.name))
        self._attributes[cls] = tuple(names)
        return self._attributes[cls]

    def _build(self, items: Iterable[tuple[Any, Any]]) -> Message:
        values: dict[str, Any] = {}
        for name, value in items:
            if value is None:
                continue
            write = self._fields.get(name)
            if write is None:
                raise ValueError(self._no_such_field(name))
            try:
                values[name] = write(value)
            except (TypeError, ValueError, AttributeError) as error:
                raise _explained(self._descriptor, name, error) from error
        for members in self._oneofs:
            if len(given := [name for name in members if name in values]) > 1:
                raise ValueError(
                    f"{self._descriptor.full_name}: {' and '.join(given)} are of one oneof; set one of them"
                )
        try:
            return self._class(**values)
        except (TypeError, ValueError) as error:
            raise self._find_culprit(values, error) from error

    def _find_culprit(self, values: Mapping[str, Any], error: Exception) -> Exception:
        for name, value in values.items():
            try:
                self._class(**{name: value})
            except (TypeError, ValueError) as own:
                return _explained(self._descriptor, name, own)
        return error

    def _no_such_field(self, name: Any) -> str:
        meant = nearest(str(name), self._fields)
        hint = f"; did you mean {meant!r}?" if meant else ""
        return f"{self._descriptor.full_name} has no field {name!r}{hint}"


def _explained(descriptor: Descriptor, name: str, error: Exception) -> Exception:
    kind = ValueError if isinstance(error, ValueError) else TypeError
    return kind(f"{descriptor.full_name}.{name}: {error}")


def _field_writer(field: FieldDescriptor, writers: dict[Descriptor, Writer]) -> Callable[[Any], Any]:
    entry = map_fields(field)
    if entry is not None:
        single = _single_writer(entry[1], writers)
        return lambda values: {key: single(value) for key, value in values.items()}
    single = _single_writer(field, writers)
    if not field.is_repeated:
        return single

    def write_all(values: Any) -> list[Any]:
        if isinstance(values, str | bytes | Mapping):
            raise TypeError(f"expected a list, got {_name(values)}")
        return [single(value) for value in values]

    return write_all


def _single_writer(field: FieldDescriptor, writers: dict[Descriptor, Writer]) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        enum_type = field.enum_type
        return lambda value: write_enum(enum_type, value)
    if field.message_type is None:
        return lambda value: value
    descriptor = field.message_type
    known = WELL_KNOWN.get(descriptor.full_name)
    writer = writers.get(descriptor) or Writer(descriptor, writers)
    if known is None:
        return lambda value: writer.write(value)
    cls, write = class_of(descriptor), known.write
    return lambda value: writer.write(value) if isinstance(value, Message) else write(cls, value)


def _name(value: Any) -> str:
    return type(value).__name__
