"""Mutants of descriptor sets: bytes, wire fields, and descriptors, changed by a seeded random source."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message

__all__ = ["KINDS", "mutate"]

_WIRE_TYPES = 8
#: Small and large, at the borders of varints and of what descriptors allow.
_NUMBERS = (0, 1, 2, 15, 16, 127, 128, 999, 1000, 8042, 19000, 50001, 60001, 70001, 2**29 - 1, 2**29, 2**31 - 1)
_SIGNED = (-1, -(2**31), *_NUMBERS)
_TEXTS = (
    "",
    ".",
    "a..b",
    ".shop.v1.User",
    "toolkit",
    "toolkit.Plugin",
    ".google.protobuf.FileOptions",
    "google/protobuf/descriptor.proto",
    "toolkit/annotations.proto",
    "é\u202e\x00\n",
    "x" * 3000,
    "a" + ".a" * 400,
    "nan",
    "9" * 400,
)


def mutate(source: random.Random, corpus: Mapping[str, bytes]) -> tuple[str, list[bytes]]:
    """One mutant: what was done, and the sets that a read gets (one, sometimes two)."""
    names = sorted(corpus)
    name = source.choice(names)
    kind = source.choice(sorted(KINDS))
    data = corpus[name]
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        data = KINDS[kind](source, data, corpus)
    sets = [data]
    if source.random() < 0.1:
        sets.insert(source.randrange(2), corpus[source.choice(names)])
    return f"{kind} of {name}", sets


def flip_bytes(source: random.Random, data: bytes, _corpus: Mapping[str, bytes]) -> bytes:
    """Change up to eight bytes anywhere."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 8) if changed else 0):
        position = source.randrange(len(changed))
        changed[position] = source.choice((changed[position] ^ 1 << source.randrange(8), source.randrange(256), 0, 255))
    return bytes(changed)


def truncate(source: random.Random, data: bytes, _corpus: Mapping[str, bytes]) -> bytes:
    """Cut the end off, or the beginning."""
    position = source.randrange(len(data) + 1)
    return data[:position] if source.random() < 0.8 else data[position:]


def splice(source: random.Random, data: bytes, corpus: Mapping[str, bytes]) -> bytes:
    """Replace a part with a part of another set, or put one in, or take one out."""
    other = corpus[source.choice(sorted(corpus))]
    start, end = sorted(source.randrange(len(data) + 1) for _ in range(2))
    end = source.choice((start, end, min(end, start + 64)))
    begin = source.randrange(len(other))
    part = other[begin : begin + source.choice((0, 1, 16, 300, len(other)))]
    return data[:start] + part + data[end:]


def change_wire(source: random.Random, data: bytes, _corpus: Mapping[str, bytes]) -> bytes:
    """Change one field somewhere in the tree of fields, with all lengths around it set right."""
    fields = _split(data)
    if not fields:
        return flip_bytes(source, data, {})
    # The files at the end are those that were written for the test.
    index = max(source.randrange(len(fields)), source.randrange(len(fields)))
    number, wire_type, payload = fields[index]
    inner = _split(payload) if wire_type == 2 else None
    if inner and source.random() < 0.8:
        fields[index] = (number, wire_type, change_wire(source, payload, {}))
        return _join(fields)
    action = source.randrange(7)
    if action == 0:
        del fields[index]
    elif action == 1:
        fields.insert(source.randrange(len(fields) + 1), fields[index])
    elif action == 2:
        other = source.randrange(len(fields))
        fields[index], fields[other] = fields[other], fields[index]
    elif action == 3:
        fields[index] = (source.choice((number + 1, source.choice(_NUMBERS[1:-2]), 9)), wire_type, payload)
    elif action == 4:
        fields[index] = (number, source.randrange(_WIRE_TYPES), payload)
    elif action == 5 and wire_type == 0:
        fields[index] = (number, wire_type, _varint(source.choice(_SIGNED) & (2**64 - 1)))
    else:
        fields[index] = (number, wire_type, flip_bytes(source, payload, {}))
    return _join(fields)


def _split(data: bytes) -> list[tuple[int, int, bytes]]:
    """The fields of a message as (number, wire type, payload), or nothing when it is none."""
    fields: list[tuple[int, int, bytes]] = []
    position = 0
    while position < len(data):
        tag, start = _read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if start < 0 or number == 0:
            return []
        if wire_type == 2:
            length, start = _read_varint(data, start)
            position = start + length
        elif wire_type == 0:
            _, position = _read_varint(data, start)
        else:
            return []
        if start < 0 or position < start or position > len(data):
            return []
        fields.append((number, wire_type, data[start:position]))
    return fields


def _join(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    parts: list[bytes] = []
    for number, wire_type, payload in fields:
        parts.append(_varint(number << 3 | wire_type))
        if wire_type == 2:
            parts.append(_varint(len(payload)))
        parts.append(payload)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while 0 <= position < len(data) and shift < 70:
        value |= (data[position] & 0x7F) << shift
        if data[position] < 0x80:
            return value, position + 1
        position += 1
        shift += 7
    return 0, -1


def change_files(source: random.Random, data: bytes, corpus: Mapping[str, bytes]) -> bytes:
    """Drop, repeat, rename, reorder or connect files."""
    files = _parse(data)
    if not files:
        return flip_bytes(source, data, {})
    file = source.choice(files)
    other = source.choice(files)
    action = source.randrange(9)
    if action == 0:
        files.remove(file)
    elif action == 1:
        copy = FileDescriptorProto()
        copy.CopyFrom(file)
        change_message(source, copy, _texts(files))
        files.insert(source.randrange(len(files) + 1), copy)
    elif action == 2:
        file.name = source.choice((*_TEXTS, other.name))
    elif action == 3:
        source.shuffle(files)
    elif action == 4:
        file.dependency.append(other.name)
    elif action == 5 and file.dependency:
        file.dependency[source.randrange(len(file.dependency))] = source.choice((*_TEXTS, other.name))
    elif action == 6:
        file.package = source.choice((*_TEXTS, other.package))
    elif action == 7:
        files.extend(_parse(corpus[source.choice(sorted(corpus))])[-2:])
    else:
        # As bytes: protobuf itself refuses to handle what is deeper than it would parse.
        deep = file.SerializePartialToString() + _nest(source.choice((5, 40, 90, 98, 150, 600)))
        return _serialize(files) + _join([(1, 2, deep)])
    return _serialize(files)


def _nest(depth: int) -> bytes:
    """A message in a message in a message …, as a field of a FileDescriptorProto."""
    message = b""
    for _ in range(depth):
        message = _join([(1, 2, b"Deep"), (3, 2, message)])
    return _join([(4, 2, message)])


def change_descriptors(source: random.Random, data: bytes, _corpus: Mapping[str, bytes]) -> bytes:
    """Set, clear, repeat or swap fields anywhere in the descriptors."""
    files = _parse(data)
    if not files:
        return flip_bytes(source, data, {})
    texts = _texts(files)
    for _ in range(source.choice((1, 1, 2, 6))):
        change_message(source, max(source.choice(files), source.choice(files), key=files.index), texts)
    return _serialize(files)


def garble_options(source: random.Random, data: bytes, _corpus: Mapping[str, bytes]) -> bytes:
    """Replace the options of a file, service, method or message with changed bytes."""
    files = _parse(data)
    holders: list[Any] = list(files)
    for file in files:
        holders.extend(file.service)
        holders.extend(method for service in file.service for method in service.method)
        holders.extend(file.message_type)
    holders = [holder for holder in holders if holder.HasField("options")]
    if not holders:
        return flip_bytes(source, data, {})
    holder = source.choice(holders)
    before = holder.options.SerializePartialToString()
    change: Callable[[random.Random, bytes, Mapping[str, bytes]], bytes] = source.choice(
        (change_wire, flip_bytes, truncate)
    )
    try:
        holder.options.MergeFromString(change(source, before, {}))
    except DecodeError:
        # Descriptors hold options that parse at least as fields; the other mutations break them further.
        holder.options.Clear()
    return _serialize(files)


def change_message(source: random.Random, message: Message, texts: Sequence[str]) -> None:
    """Go down to some message below, and change one of its fields."""
    while True:
        children: list[Any] = []
        for field, value in message.ListFields():
            if field.message_type is not None and not field.is_extension and field.name != "source_code_info":
                children.extend(value if field.is_repeated else [value])
        if not children or source.random() < 0.25:
            break
        message = source.choice(children)
    fields: Any = message.DESCRIPTOR.fields
    _change_field(source, message, source.choice(list(fields)), texts)


def _change_field(source: random.Random, message: Any, field: FieldDescriptor, texts: Sequence[str]) -> None:
    if source.random() < 0.15:
        message.ClearField(field.name)
        return
    if field.is_repeated:
        values = getattr(message, field.name)
        if len(values) and source.random() < 0.5:
            _change_list(source, values)
        elif field.message_type is not None:
            _fill(source, values.add(), texts)
        else:
            values.append(_scalar(source, field, texts))
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, _scalar(source, field, texts))


def _change_list(source: random.Random, values: Any) -> None:
    index = source.randrange(len(values))
    if source.random() < 0.5:
        del values[index]
    else:
        values.append(values[index])


def _fill(source: random.Random, message: Any, texts: Sequence[str]) -> None:
    """Give an added message some fields, so that it says something."""
    for field in message.DESCRIPTOR.fields:
        if source.random() < 0.5 and field.message_type is None and not field.is_repeated:
            setattr(message, field.name, _scalar(source, field, texts))


def _scalar(source: random.Random, field: FieldDescriptor, texts: Sequence[str]) -> Any:
    if field.enum_type is not None:
        return source.choice([value.number for value in field.enum_type.values])
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = source.choice((*_TEXTS, *texts, *texts))
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return source.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return source.choice((0.0, -1.5, float("inf"), float("nan")))
    signed = kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    return source.choice(_SIGNED if signed else _NUMBERS)


def _texts(files: Sequence[FileDescriptorProto]) -> list[str]:
    """Names that the set itself uses, so that what is changed often still resolves to something."""
    texts: list[str] = []
    for file in files:
        package = f".{file.package}." if file.package else "."
        texts += [file.name, file.package]
        texts += [package + message.name for message in file.message_type]
        texts += [field.name for message in file.message_type for field in message.field]
        texts += [service.name for service in file.service] + [method.name for s in file.service for method in s.method]
    return [text for text in map(_as_text, texts) if text]


def _as_text(text: object) -> str:
    """A name that is no UTF-8 is bytes in Python."""
    return text if isinstance(text, str) else ""


def _parse(data: bytes) -> list[FileDescriptorProto]:
    try:
        return list(FileDescriptorSet.FromString(data).file)
    except DecodeError:
        return []


def _serialize(files: Sequence[FileDescriptorProto]) -> bytes:
    return _join([(1, 2, file.SerializePartialToString()) for file in files])


KINDS: Mapping[str, Callable[[random.Random, bytes, Mapping[str, bytes]], bytes]] = {
    "flip": flip_bytes,
    "truncate": truncate,
    "splice": splice,
    "wire": change_wire,
    "files": change_files,
    "descriptors": change_descriptors,
    "options": garble_options,
}
