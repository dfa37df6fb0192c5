"""Whole messages: read as a dict or an attrs class, written from either."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Final

import attrs
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from toolkit.manifest.names import nearest
from toolkit.runtime.injection.signature import ABSENT, Parameter, draw_type, read_class
from toolkit.runtime.messages.values import (
    SCALARS,
    WELL_KNOWN,
    ConversionError,
    class_of,
    describe_field,
    map_fields,
    read_enum,
)

__all__ = ["Mismatch", "Reader", "Shapes"]

Reader = Callable[[Any], Any]

#: Given instead of a value by a field that is not set.
_UNSET: Final = object()

_ANYTHING: Final = (Any, object, ABSENT)
_SEQUENCES: Final[Mapping[Any, Callable[[Iterable[Any]], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    MutableSequence: list,
    Collection: list,
    Iterable: list,
}
_MAPPINGS: Final = (dict, Mapping, MutableMapping)


@attrs.frozen(kw_only=True, eq=False)
class Mismatch:
    """One way in which an annotation does not fit its message."""

    what: str
    fix: str = ""


class Shapes:
    """The readers of one manifest, compiled once for each (message, type)."""

    def __init__(self) -> None:
        self._readers: dict[tuple[Descriptor, Any], _ReaderSlot] = {}

    def reader(self, descriptor: Descriptor, wanted: Any) -> tuple[Reader, tuple[Mismatch, ...]]:
        """How a message becomes ``wanted`` (``dict`` or an attrs class), and what does not fit."""
        slot = self._slot(descriptor, wanted)
        return slot.read, tuple(_collect(slot, set(), for_reply=False))

    def reply_mismatches(self, descriptor: Descriptor, wanted: Any) -> tuple[Mismatch, ...]:
        """Why an attrs class cannot be written as the message."""
        return tuple(_collect(self._slot(descriptor, wanted), set(), for_reply=True))

    def _slot(self, descriptor: Descriptor, wanted: Any) -> _ReaderSlot:
        slot = self._readers.get((descriptor, wanted))
        if slot is None:
            # Entered before it is filled: a message may hold itself.
            slot = self._readers[descriptor, wanted] = _ReaderSlot()
            if wanted is dict:
                self._fill_dict(slot, descriptor)
            else:
                self._fill_attrs(slot, descriptor, wanted)
        return slot

    def _fill_dict(self, slot: _ReaderSlot, descriptor: Descriptor) -> None:
        getters = []
        for field in descriptor.fields:
            value = self._value(field, Any)
            getters.append((field.name, _getter(field, value.read, none_if_unset=True)))

        def read(message: Message) -> dict[str, Any]:
            result = {}
            for name, get in getters:
                value = get(message)
                result[name] = None if value is _UNSET else value
            return result

        slot.read = read

    def _fill_attrs(self, slot: _ReaderSlot, descriptor: Descriptor, cls: type) -> None:
        parameters = {parameter.name: parameter for parameter in read_class(cls).injected}
        getters = []
        for attribute in attrs.fields(cls):
            parameter = parameters.get(attribute.alias or attribute.name)
            if parameter is None:
                continue  # init=False: the class fills it itself
            field = _field_for(descriptor, attribute)
            if field is None:
                slot.mismatches.append(_no_such_field(cls, attribute, descriptor))
                continue
            value = self._value(field, parameter.wanted)
            if parameter.failure:
                value = _Value(mismatch=f"its annotation does not evaluate: {parameter.failure}")
            self._note(slot, cls, parameter, field, value)
            omit = parameter.has_default
            getter = _getter(field, value.read, none_if_unset=parameter.optional or omit)
            getters.append((field.name, parameter.name, omit, getter))

        def read(message: Message) -> Any:
            values = {}
            for name, alias, omit, get in getters:
                try:
                    value = get(message)
                except ConversionError as error:
                    raise error.under(name) from error
                if value is not _UNSET:
                    values[alias] = value
                elif not omit:
                    values[alias] = None
            try:
                return cls(**values)
            except (TypeError, ValueError) as error:
                raise ConversionError(_blamed_field(error, cls), "is not accepted") from error

        slot.read = read

    def _note(self, slot: _ReaderSlot, cls: type, parameter: Parameter, field: FieldDescriptor, value: _Value) -> None:
        if value.slot is not None:
            slot.nested.append(value.slot)
        owner = f"{cls.__name__}.{parameter.name}"
        proto, python = describe_field(field)
        if value.mismatch is not None:
            reason = value.mismatch or f"{field.full_name} is {proto}, which is {python} in Python"
            slot.mismatches.append(Mismatch(what=f"{owner} is {_annotated(parameter)}; {reason}"))
        elif _is_singular_message(field) and not (parameter.optional or parameter.has_default):
            slot.read_mismatches.append(
                Mismatch(
                    what=f"{owner} cannot say that {field.full_name} is not set",
                    fix=f"annotate it `{draw_type(parameter.wanted)} | None`, or give it a default",
                )
            )

    def _value(self, field: FieldDescriptor, wanted: Any) -> _Value:
        entry = map_fields(field)
        if entry is not None:
            return self._map(*entry, wanted)
        if not field.is_repeated:
            return self._single(field, wanted)
        build, item = list, Any
        if wanted not in _ANYTHING:
            origin = typing.get_origin(wanted) or wanted
            if origin not in _SEQUENCES:
                return _Value(mismatch="")
            build = _SEQUENCES[origin]  # type: ignore[assignment]  # any of the builders
            item = next(iter(typing.get_args(wanted)), Any)
        single = self._single(field, item)
        read = single.read
        if read is None:
            return attrs.evolve(single, read=build)
        return attrs.evolve(single, read=lambda values: build(map(read, values)))

    def _map(self, key_field: FieldDescriptor, value_field: FieldDescriptor, wanted: Any) -> _Value:
        key, item = Any, Any
        if wanted not in _ANYTHING:
            if (typing.get_origin(wanted) or wanted) not in _MAPPINGS:
                return _Value(mismatch="")
            key, item = typing.get_args(wanted) or (Any, Any)
        keys, single = self._single(key_field, key), self._single(value_field, item)
        if keys.mismatch is not None:
            return keys
        read = single.read
        if read is None:
            return attrs.evolve(single, read=dict)
        return attrs.evolve(single, read=lambda values: {name: read(value) for name, value in values.items()})

    def _single(self, field: FieldDescriptor, wanted: Any) -> _Value:
        while hasattr(wanted, "__supertype__"):  # a NewType
            wanted = wanted.__supertype__
        if field.message_type is not None:
            return self._message(field.message_type, wanted)
        if field.enum_type is not None:
            if wanted in _ANYTHING:
                return _Value(read=_enum_namer(field.enum_type))
            enum_reader = read_enum(field.enum_type, wanted)
            return _Value(mismatch=enum_reader) if isinstance(enum_reader, str) else _Value(read=enum_reader)
        fits = wanted in _ANYTHING or wanted is SCALARS[field.type]
        return _Value() if fits else _Value(mismatch="")

    def _message(self, descriptor: Descriptor, wanted: Any) -> _Value:
        known = WELL_KNOWN.get(descriptor.full_name)
        if known is not None and (wanted in _ANYTHING or wanted in known.types):
            return _Value(read=known.read)
        if wanted is Message:
            return _Value()
        if isinstance(wanted, type):
            if issubclass(wanted, Message):
                return _generated(descriptor, wanted)
            if attrs.has(wanted):
                slot = self._slot(descriptor, wanted)
                return _Value(read=lambda message: slot.read(message), slot=slot)
        if wanted in _ANYTHING and descriptor.full_name == "google.protobuf.Any":
            return _Value()
        if wanted in _ANYTHING or (typing.get_origin(wanted) or wanted) in _MAPPINGS:
            slot = self._slot(descriptor, dict)
            return _Value(read=lambda message: slot.read(message), slot=slot)
        return _Value(mismatch="")


@attrs.frozen(kw_only=True, eq=False)
class _Value:
    """How one value is read; ``read`` None means as it is."""

    read: Reader | None = None
    #: None when the annotation fits; the reason, or an empty text where the types say it all.
    mismatch: str | None = None
    slot: _ReaderSlot | None = None


@attrs.define(eq=False)
class _ReaderSlot:
    read: Reader = attrs.field(default=lambda message: message)
    mismatches: list[Mismatch] = attrs.field(factory=list)
    #: What does not fit when messages are read, and does when they are written.
    read_mismatches: list[Mismatch] = attrs.field(factory=list)
    nested: list[_ReaderSlot] = attrs.field(factory=list)


def _collect(slot: _ReaderSlot, seen: set[int], *, for_reply: bool) -> Iterator[Mismatch]:
    if id(slot) in seen:
        return
    seen.add(id(slot))
    yield from slot.mismatches
    if not for_reply:
        yield from slot.read_mismatches
    for nested in slot.nested:
        yield from _collect(nested, seen, for_reply=for_reply)


def _getter(field: FieldDescriptor, read: Reader | None, *, none_if_unset: bool) -> Reader:
    """Reads one field of a message: the value, or _UNSET where that is known and asked for."""
    name = field.name
    if field.has_presence and (none_if_unset or field.message_type is not None):

        def get_if_set(message: Any) -> Any:
            if not message.HasField(name):
                return _UNSET
            value = getattr(message, name)
            return value if read is None else read(value)

        return get_if_set
    if read is None:
        return lambda message: getattr(message, name)
    return lambda message: read(getattr(message, name))


def _is_singular_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated


def _enum_namer(descriptor: EnumDescriptor) -> Reader:
    names = {value.number: value.name for value in reversed(descriptor.values)}
    return lambda number: names.get(number, number)


def _generated(descriptor: Descriptor, wanted: Any) -> _Value:
    if wanted.DESCRIPTOR.full_name != descriptor.full_name:
        return _Value(mismatch=f"the field holds {descriptor.full_name}, not {wanted.DESCRIPTOR.full_name}")
    if wanted is class_of(descriptor):
        return _Value()
    return _Value(read=lambda message: wanted.FromString(message.SerializeToString()))


def _field_for(descriptor: Descriptor, attribute: attrs.Attribute[Any]) -> FieldDescriptor | None:
    fields = descriptor.fields_by_name
    return fields.get(attribute.name) or fields.get(attribute.alias or attribute.name)


def _no_such_field(cls: type, attribute: attrs.Attribute[Any], descriptor: Descriptor) -> Mismatch:
    meant = nearest(attribute.name, descriptor.fields_by_name)
    names = ", ".join(descriptor.fields_by_name) or "none"
    return Mismatch(
        what=f"{cls.__name__}.{attribute.name} is no field of {descriptor.full_name} (its fields: {names})",
        fix=f"name it {meant!r}" if meant else "",
    )


def _annotated(parameter: Parameter) -> str:
    if parameter.wanted is ABSENT:
        return "not annotated"
    return f"annotated {draw_type(parameter.wanted)}{' | None' if parameter.optional else ''}"


def _blamed_field(error: BaseException, cls: Any) -> str:
    """The field of which a validator complained: attrs's own pass it along, or quote its name."""
    names = [item.name for item in error.args if isinstance(item, attrs.Attribute)]
    quoted = [field.name for field in attrs.fields(cls) if f"'{field.name}'" in str(error)]
    return next(iter([*names, *quoted]), "")
