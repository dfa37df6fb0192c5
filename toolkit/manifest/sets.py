"""Bytes to file descriptors: one FileDescriptorSet, or what the bytes are instead."""

from __future__ import annotations

import contextlib
import re

import attrs
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from toolkit.manifest.findings import Findings
from toolkit.manifest.names import quoted
from toolkit.manifest.source import Path, SourceInfo
from toolkit.manifest.wire import LENGTH_DELIMITED, VARINT, Record, Records, split_records

__all__ = ["MAX_SET_SIZE", "DescriptorSet", "File", "parse_set"]

#: Bytes; a larger set is refused unread.
MAX_SET_SIZE = 16 * 1024 * 1024

#: All of googleapis has about 9,000.
_MAX_FILES = 20_000

#: Of one file at its top level: messages, services, imports and so on.
_MAX_RECORDS = 100_000

# Field numbers of FileDescriptorSet and FileDescriptorProto.
_FILE = 1
_NAME = 1
_DEPENDENCY = 3
_SOURCE_CODE_INFO = 9
_OPTION_DEPENDENCY = 15

#: ``buf.alpha.image.v1.ImageFile.buf_extension``, which buf sets on every file of an image.
_BUF_EXTENSION = 8042
_BUF_IS_IMPORT = 1

_COMPILE = "toolkit compile service.proto -o service.pb"
_MAKE_ONE = f"make one with: {_COMPILE}"
_MAKE_ANEW = f"compile it again: {_COMPILE}"


@attrs.frozen(kw_only=True)
class File:
    """One file of a set: its descriptor without source info, and the source info beside it."""

    #: ``source_code_info`` and buf's own extension are taken out.
    descriptor: FileDescriptorProto
    #: The descriptor as bytes, the same for the same file whatever else its set says of it.
    data: bytes = attrs.field(repr=False)
    source: SourceInfo
    #: What the set says itself: buf marks imports, protoc does not (None).
    is_import: bool | None

    @property
    def name(self) -> str:
        """The file's path as its importers write it."""
        return self.descriptor.name

    @property
    def imports(self) -> list[tuple[str, Path]]:
        """All that must be in the set with it, and the paths of the statements that say so."""
        return [
            (name, (number, index))
            for number, names in (
                (_DEPENDENCY, self.descriptor.dependency),
                # `import option` of edition 2024: what only the file's options need.
                (_OPTION_DEPENDENCY, self.descriptor.option_dependency),
            )
            for index, name in enumerate(names)
        ]


@attrs.frozen(kw_only=True)
class DescriptorSet:
    """One FileDescriptorSet that could be read, in its own order."""

    #: What reports call it.
    label: str
    files: tuple[File, ...]


def parse_set(data: bytes, label: str, findings: Findings) -> DescriptorSet | None:
    """The files of one set; None, and a finding, when the bytes are no FileDescriptorSet."""
    if not data:
        findings.add("empty_set", "the descriptor set is empty (0 bytes)", where=label, fix=_MAKE_ANEW)
        return None
    if len(data) > MAX_SET_SIZE:
        findings.add(
            "too_large",
            f"the descriptor set has {len(data):,} bytes; at most {MAX_SET_SIZE:,} are read",
            where=label,
            fix="compile fewer files into it, or leave out the source info",
        )
        return None
    records = split_records(data, limit=_MAX_FILES)
    chunks = [data[record.payload : record.end] for record in records.fields if _is_file(record)]
    if not records.complete or not chunks or _is_single_file(data, records):
        _explain(data, records, label, findings)
        return None
    files = [_parse_file(chunk, index, label, findings) for index, chunk in enumerate(chunks)]
    whole = tuple(file for file in files if file is not None)
    return DescriptorSet(label=label, files=whole) if len(whole) == len(files) else None


def _is_file(record: Record) -> bool:
    return record.number == _FILE and record.wire_type == LENGTH_DELIMITED


def _parse_file(chunk: bytes, index: int, label: str, findings: Findings) -> File | None:
    records = split_records(chunk, limit=_MAX_RECORDS)
    kept, taken = _take_out(chunk, records, _SOURCE_CODE_INFO, _BUF_EXTENSION)
    descriptor = None
    if records.complete:
        with contextlib.suppress(DecodeError):
            descriptor = FileDescriptorProto.FromString(kept)
    if descriptor is None:
        name = _name_of(chunk, records)
        findings.add(
            "damaged_file",
            f"{quoted(name) if name else f'file {index + 1}'} of the descriptor set is damaged",
            where=label,
            why="its bytes are no FileDescriptorProto",
            fix=_MAKE_ANEW,
        )
        return None
    if not _has_readable_names(descriptor):
        findings.add(
            "file_name",
            f"file {index + 1} of the descriptor set, or one of its imports, has no readable name",
            where=label,
            fix=_MAKE_ANEW,
        )
        return None
    return File(
        descriptor=descriptor,
        data=kept,
        source=SourceInfo(descriptor.name, taken[_SOURCE_CODE_INFO]),
        is_import=_is_import(taken[_BUF_EXTENSION]) if taken[_BUF_EXTENSION] else None,
    )


def _take_out(data: bytes, records: Records, *numbers: int) -> tuple[bytes, dict[int, bytes]]:
    """The message without these fields, and the fields' payloads, joined where one is repeated (so messages merge)."""
    kept: list[bytes] = []
    taken = dict.fromkeys(numbers, b"")
    position = 0
    for record in records.fields:
        if record.number in taken and record.wire_type == LENGTH_DELIMITED:
            kept.append(data[position : record.start])
            taken[record.number] += data[record.payload : record.end]
            position = record.end
    return b"".join((*kept, data[position:])), taken


def _has_readable_names(descriptor: FileDescriptorProto) -> bool:
    """Whether reports can show the file's name: on the wire a name may be any bytes at all."""
    names: tuple[object, ...] = (descriptor.name, *descriptor.dependency, *descriptor.option_dependency)
    package: object = descriptor.package
    return isinstance(package, str) and all(
        isinstance(name, str) and name.isprintable() and 0 < len(name) < 1000 for name in names
    )


def _is_import(image_file: bytes) -> bool:
    """``ImageFileExtension.is_import``, which buf writes on every file of an image."""
    records = split_records(image_file, limit=100)
    return any(
        record.number == _BUF_IS_IMPORT and image_file[record.payload - 1 : record.end] == b"\x08\x01"
        for record in records.fields
        if record.wire_type == VARINT
    )


def _name_of(chunk: bytes, records: Records) -> str:
    """The file's name, as far as the bytes still show it."""
    first = records.fields[0] if records.fields else None
    if first is not None and first.number != _NAME:
        return ""
    name = chunk[first.payload : first.end] if first is not None else chunk[records.rest :]
    text = name[:1000].decode("utf-8", errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else ""


_PROTO_SOURCE = re.compile(
    r"^\ufeff?[ \t]*(?:(?:syntax|edition)[ \t]*=|(?:package|import|message|service|option|enum)\b)", re.M
)
_TEXT_FORMAT = re.compile(r"^\s*file\s*:?\s*[{<]")


def _explain(data: bytes, records: Records, label: str, findings: Findings) -> None:
    """Say what the bytes are, since they are no FileDescriptorSet."""
    if data[:2] == b"\x1f\x8b" or data[:4] == b"\x28\xb5\x2f\xfd":
        _add_compressed(data, label, findings)
    elif _is_single_file(data, records):
        findings.add(
            "single_file",
            "these bytes are one FileDescriptorProto, not a FileDescriptorSet",
            where=label,
            why="a set holds the file together with everything that it imports",
            fix=_MAKE_ONE,
        )
    elif (text := _decode(data)) is not None:
        _add_text(text, label, findings)
    elif records.lacking and _holds_files(data, records):
        _add_truncated(data, records, label, findings)
    else:
        findings.add(
            "not_a_set",
            "these bytes are no FileDescriptorSet",
            where=label,
            why=f"they begin with {data[:8].hex(' ')}",
            fix=_MAKE_ONE,
        )


def _holds_files(data: bytes, records: Records) -> bool:
    """Whether what there is begins as a set does: with files, each beginning with its name."""
    begin = [record.payload for record in records.fields] or [records.rest]
    return data[:1] == b"\x0a" and all(data[start : start + 1] in (b"", b"\x0a") for start in begin)


def _add_compressed(data: bytes, label: str, findings: Findings) -> None:
    kind, suffix = ("gzip", ".gz") if data[0] == 0x1F else ("zstd", ".zst")
    findings.add(
        "compressed",
        f"the descriptor set is compressed ({kind})",
        where=label,
        fix=f"decompress it, or let buf write it plain: buf build -o service.binpb (without {suffix})",
    )


def _add_text(text: str, label: str, findings: Findings) -> None:
    if text.lstrip()[:1] == "{":
        what, code, fix = (
            "this is JSON, not a binary descriptor set",
            "json",
            "write it in binary: buf build -o service.binpb",
        )
    elif _TEXT_FORMAT.match(text):
        what, code = "this is a descriptor set in text format, not in binary", "text_format"
        fix = f"write it in binary: buf build -o service.binpb, or: {_COMPILE}"
    elif _PROTO_SOURCE.search(text):
        what, code = "this is a .proto, not a compiled descriptor set", "proto_source"
        fix = f"compile it first: {_COMPILE}"
    else:
        what, code, fix = "this is text, not a binary descriptor set", "not_a_set", _MAKE_ONE
    findings.add(code, what, where=label, fix=fix)


def _add_truncated(data: bytes, records: Records, label: str, findings: Findings) -> None:
    last = data[records.rest :]
    name = _name_of(last, split_records(last, limit=1))
    which = f"file {len(records.fields) + 1}" + (f" ({quoted(name)})" if name else "")
    findings.add(
        "truncated",
        f"the descriptor set is cut off in {which}",
        where=label,
        why="at least " + ("1 byte is" if records.lacking == 1 else f"{records.lacking:,} bytes are") + " missing",
        fix="copy it again, or compile it again",
    )


def _decode(data: bytes) -> str | None:
    """The bytes as text, or None when they are no text that people write."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    begin = text[:65536]
    written = all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in begin)
    return begin if written and begin.strip() else None


def _is_single_file(data: bytes, records: Records) -> bool:
    """Whether the first field is a file's name, and not a whole file, which would begin with a field itself."""
    first = data[records.fields[0].payload : records.fields[0].end] if records.fields else b""
    if first[:1] == b"\x0a" or not first.endswith(b".proto"):
        return False
    try:
        name: object = FileDescriptorProto.FromString(data).name
    except DecodeError:
        return False
    return isinstance(name, str) and name.isprintable()
