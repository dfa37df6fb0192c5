"""The walk over the top level of a message."""

from __future__ import annotations

import pytest

from toolkit.manifest.wire import Record, split_records


def test_fields_of_all_wire_types_are_walked() -> None:
    """Varints, fixed sizes and payloads are told apart, and where each begins and ends."""
    data = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x1d\x01\x02\x03\x04" + b"\x21" + bytes(8)
    records = split_records(data, limit=10)
    assert records.complete
    assert records.fields == (
        Record(1, 0, 0, 1, 3),
        Record(2, 2, 3, 5, 7),
        Record(3, 5, 7, 8, 12),
        Record(4, 1, 12, 13, 21),
    )


@pytest.mark.parametrize(
    ("data", "lacking"),
    [
        (b"\x0a\x05abc", 2),
        (b"\x0a", 1),
        (b"\x08\x80", 1),
        (b"\x80", 1),
        (b"\x0d\x00", 3),
        (b"\x0b", 0),  # a group
        (b"\x0f", 0),  # no wire type
        (b"\x02\x00", 0),  # field 0
        (b"\xff" * 20, 0),  # a varint without end
        (b"\x0a" + b"\xff" * 9 + b"\x01", 2**64 - 1),
    ],
)
def test_what_is_cut_off_and_what_is_malformed_are_told_apart(data: bytes, lacking: int) -> None:
    """The walk ends where the bytes do, with what is missing at least; or where they are no field."""
    records = split_records(data, limit=10)
    assert not records.complete
    assert records.lacking == lacking


def test_the_walk_is_bounded() -> None:
    """No more fields are listed than were asked for."""
    records = split_records(b"\x0a\x00" * 11, limit=10)
    assert (len(records.fields), records.complete) == (10, False)
    assert split_records(b"\x0a\x00" * 10, limit=10).complete
