"""Bytes that are no FileDescriptorSet, and what is said of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from tests.manifest.compilers import PROTOS, parse, problems_of, report_of
from toolkit.errors import ManifestError
from toolkit.manifest import read_manifest

GREETER = "greeter.proto"


@pytest.fixture(scope="module")
def greeter(protos: Callable[..., bytes]) -> bytes:
    return protos(GREETER)


@pytest.mark.parametrize(
    ("data", "report"),
    [
        (
            b"",
            "descriptor set: the descriptor set is empty (0 bytes)\n"
            "  → compile it again: toolkit compile service.proto -o service.pb",
        ),
        (
            (PROTOS / GREETER).read_bytes(),
            "descriptor set: this is a .proto, not a compiled descriptor set\n"
            "  → compile it first: toolkit compile service.proto -o service.pb",
        ),
        (
            b"\nservice S {}\n",
            "descriptor set: this is a .proto, not a compiled descriptor set\n"
            "  → compile it first: toolkit compile service.proto -o service.pb",
        ),
        (
            b'{"file": []}',
            "descriptor set: this is JSON, not a binary descriptor set\n"
            "  → write it in binary: buf build -o service.binpb",
        ),
        (
            b'file {\n  name: "a.proto"\n}\n',
            "descriptor set: this is a descriptor set in text format, not in binary\n"
            "  → write it in binary: buf build -o service.binpb, or: toolkit compile service.proto -o service.pb",
        ),
        (
            "Grüße\n".encode(),
            "descriptor set: this is text, not a binary descriptor set\n"
            "  → make one with: toolkit compile service.proto -o service.pb",
        ),
        (
            gzip.compress(b"anything", mtime=0),
            "descriptor set: the descriptor set is compressed (gzip)\n"
            "  → decompress it, or let buf write it plain: buf build -o service.binpb (without .gz)",
        ),
        (
            b"\x28\xb5\x2f\xfd\x04\x00",
            "descriptor set: the descriptor set is compressed (zstd)\n"
            "  → decompress it, or let buf write it plain: buf build -o service.binpb (without .zst)",
        ),
        (
            b"\x89PNG\r\n\x1a\n\x00\x00",
            "descriptor set: these bytes are no FileDescriptorSet\n"
            "    they begin with 89 50 4e 47 0d 0a 1a 0a\n"
            "  → make one with: toolkit compile service.proto -o service.pb",
        ),
        (
            bytes(16 * 1024 * 1024 + 1),
            "descriptor set: the descriptor set has 16,777,217 bytes; at most 16,777,216 are read\n"
            "  → compile fewer files into it, or leave out the source info",
        ),
    ],
    ids=["empty", "proto", "proto-after-newline", "json", "text-format", "text", "gzip", "zstd", "binary", "too-large"],
)
def test_what_the_bytes_are_is_said(data: bytes, report: str) -> None:
    """Whatever is given instead of a descriptor set is called by its name, with what to do."""
    assert report_of(data) == report


@pytest.mark.parametrize("filler", [b"\n", b" ", b"syntax ", b"a\n "])
def test_long_texts_are_recognised_without_delay(filler: bytes) -> None:
    """Text of the largest size, however it is filled, is looked at once."""
    assert [problem.code for problem in problems_of(b"x" + filler * (15_000_000 // len(filler)))] == [
        "manifest.not_a_set"
    ]


def test_no_set_at_all_is_refused() -> None:
    """Reading nothing says how to make something to read."""
    assert report_of() == (
        "no descriptor set was given\n  → give one; this makes it: toolkit compile service.proto -o service.pb"
    )


def test_a_single_file_descriptor_is_recognised(greeter: bytes) -> None:
    """A FileDescriptorProto alone is told apart from a set of them."""
    assert report_of(parse(greeter).file[0].SerializeToString()) == (
        "descriptor set: these bytes are one FileDescriptorProto, not a FileDescriptorSet\n"
        "    a set holds the file together with everything that it imports\n"
        "  → make one with: toolkit compile service.proto -o service.pb"
    )


def test_a_truncated_set_says_in_which_file_it_is_cut(protos: Callable[..., bytes]) -> None:
    """A set that was cut off names the file and what is missing at least."""
    data = protos("shop/legacy.proto")
    assert report_of(data[:-1]) == (
        "descriptor set: the descriptor set is cut off in file 3 ('shop/legacy.proto')\n"
        "    at least 1 byte is missing\n"
        "  → copy it again, or compile it again"
    )
    assert report_of(data[:1000], names=["legacy.pb"]).startswith(
        "legacy.pb: the descriptor set is cut off in file 1 ('google/protobuf/descriptor.proto')\n    at least "
    )


def test_every_truncation_is_recognised(greeter: bytes) -> None:
    """Wherever a set of one file is cut, the problem is that it is cut off."""
    for size in range(1, len(greeter)):
        problems = problems_of(greeter[:size])
        assert [problem.code for problem in problems] == ["manifest.truncated"], size


def test_a_damaged_file_is_named(greeter: bytes) -> None:
    """A file whose bytes are broken inside an intact set is named, and so is every other one."""
    damaged = parse(greeter)
    broken = greeter[:2] + greeter[2:].replace(b"\x12\x0ahelloworld", b"\x12\x7fhelloworld", 1)
    assert broken != greeter
    assert report_of(broken, broken, names=["a.pb", "b.pb"]) == "\n".join(
        f"{name}: 'greeter.proto' of the descriptor set is damaged\n"
        "    its bytes are no FileDescriptorProto\n"
        "  → compile it again: toolkit compile service.proto -o service.pb"
        for name in ("a.pb", "b.pb")
    )
    assert len(damaged.file) == 1


@pytest.mark.parametrize("name", ["", "a\nb.proto", "\x1b[31m.proto", "x" * 1000])
def test_a_name_that_no_report_can_show_is_refused(greeter: bytes, name: str) -> None:
    """A file without a readable name, which no compiler writes, is refused before anything else is read."""
    changed = parse(greeter)
    changed.file[0].name = name
    assert report_of(changed.SerializeToString()) == (
        "descriptor set: file 1 of the descriptor set, or one of its imports, has no readable name\n"
        "  → compile it again: toolkit compile service.proto -o service.pb"
    )


def test_a_name_that_is_no_utf8_is_refused(greeter: bytes) -> None:
    """A file name may be any bytes on the wire; what is no text is refused."""
    data = greeter.replace(b"greeter.proto", b"greeter\xff\xferoto", 1)
    assert [problem.code for problem in problems_of(data)] == ["manifest.file_name"]


def test_the_problems_of_all_sets_are_reported_together(greeter: bytes) -> None:
    """Each set that cannot be read has its own problem, under its name or its number."""
    problems = problems_of(b"", greeter, b"{}")
    assert [(problem.where, problem.code) for problem in problems] == [
        ("descriptor set 1", "manifest.empty_set"),
        ("descriptor set 3", "manifest.json"),
    ]


def test_a_set_of_millions_of_tiny_files_is_refused_at_once() -> None:
    """More files than any project has are refused unread, without a pile of memory or time."""
    assert [problem.code for problem in problems_of(b"\x0a\x00" * 8_000_000)] == ["manifest.not_a_set"]


def test_a_file_of_millions_of_tiny_parts_is_refused_at_once() -> None:
    """So is one file with more declarations than any file has."""
    file = b"\x0a\x07a.proto" + b"\x22\x00" * 4_000_000
    length = len(file)
    varint = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21])
    assert [problem.code for problem in problems_of(b"\x0a" + varint + file)] == ["manifest.damaged_file"]


def test_reading_stops_after_a_hundred_problems() -> None:
    """A report has as many problems as a person can mend, and says that there are more."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(*[b""] * 500)
    assert len(caught.value.problems) == 101
    assert str(caught.value.problems[-1]) == "reading stopped after 100 problems; there may be more"
