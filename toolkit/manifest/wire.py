"""The top level of a protobuf message, walked without knowing its schema.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import attrs

__all__ = ["LENGTH_DELIMITED", "VARINT", "Record", "Records", "split_records"]

VARINT = 0
LENGTH_DELIMITED = 2
#: Wire types whose payload has a fixed size, in bytes.
_FIXED = {1: 8, 5: 4}

# What stands for a position where there is none.
_MALFORMED = -1
_CUT_OFF = -2


@attrs.frozen
class Record:
    """One field with its value: where it starts, where its payload starts, and where both end."""

    number: int
    wire_type: int
    start: int
    payload: int
    end: int


@attrs.frozen(kw_only=True)
class Records:
    """The fields at the top of a message."""

    fields: tuple[Record, ...]
    #: Whether the walk came to the end of the bytes, and the end of the last field was there too.
    complete: bool
    #: Where the field that is cut off or no field at all has its payload.
    rest: int = 0
    #: How many bytes the last field lacks at least; 0 when that is not what is wrong.
    lacking: int = 0


def split_records(data: bytes, *, limit: int) -> Records:
    """Walk the top level of a message, up to ``limit`` fields; groups end the walk incomplete."""
    fields: list[Record] = []
    position, size = 0, len(data)
    while position < size:
        start = position
        tag, payload = _read_varint(data, start)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == LENGTH_DELIMITED:
            length, payload = _read_varint(data, payload)
            position = payload + length if payload >= 0 else payload
        elif wire_type == VARINT:
            _, position = _read_varint(data, payload)
        elif wire_type in _FIXED:
            position = payload + _FIXED[wire_type] if payload >= 0 else payload
        else:
            position = _MALFORMED
        if _CUT_OFF in (payload, position):
            return Records(fields=tuple(fields), complete=False, rest=start, lacking=1)
        if number < 1 or payload < 0 or position < payload or len(fields) == limit:
            return Records(fields=tuple(fields), complete=False, rest=start)
        if position > size:
            return Records(fields=tuple(fields), complete=False, rest=payload, lacking=position - size)
        fields.append(Record(number, wire_type, start, payload, position))
    return Records(fields=tuple(fields), complete=True, rest=size)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at ``position`` and the position behind it, or a negative number where none is."""
    if position < 0:
        return 0, position
    value = shift = 0
    while shift < 70:
        if position >= len(data):
            return 0, _CUT_OFF
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, _MALFORMED
