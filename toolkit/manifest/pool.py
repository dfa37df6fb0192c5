"""Files to a private DescriptorPool, with protobuf's own objections as findings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import Location
from toolkit.manifest.sets import File
from toolkit.manifest.source import Path, find_path

__all__ = ["build_pool", "locate"]

_PREAMBLE = "Couldn't build proto file into descriptor pool: "
_DUPLICATE = re.compile(r"duplicate symbol '([^']+)'")
#: Names in protobuf's messages: in quotes or in parentheses.
_NAME = re.compile(r"['(]([A-Za-z_][\w.]*)['),]")


def build_pool(files: Sequence[File], findings: Findings) -> DescriptorPool:
    """A pool of exactly these files, which stand in order of dependency."""
    pool = DescriptorPool()
    failed: set[str] = set()
    for index, file in enumerate(files):
        if any(name in failed for name, _ in file.imports):
            failed.add(file.name)
            continue
        try:
            pool.AddSerializedFile(file.data)
        except (TypeError, ValueError, DecodeError) as error:
            failed.add(file.name)
            _explain(str(error).removeprefix(_PREAMBLE), file, files[:index], findings)
    return pool


def _explain(reason: str, file: File, earlier: Sequence[File], findings: Findings) -> None:
    duplicate = _DUPLICATE.search(reason)
    other = _find_declaration(duplicate.group(1), earlier) if duplicate else None
    if duplicate and other is not None:
        name = duplicate.group(1)
        same = "they look like one file under two names: " if other.file.endswith(file.name.rpartition("/")[2]) else ""
        findings.add(
            "duplicate_symbol",
            f"{name} is declared a second time",
            where=_locate(file, name),
            why=f"{same}the first declaration is in {other}",
            fix="compile both from the same folder (the same -I), so that the file has one name"
            if same
            else "rename one of them, or give its file another package",
        )
        return
    named = (_locate(file, name) for name in _NAME.findall(reason))
    findings.add(
        "invalid_file",
        "the file's descriptor is not valid",
        where=next((location for location in named if location.line is not None), Location(file.name)),
        why=f"protobuf says: {reason}",
        fix="compile the set again, with a current protoc or buf",
    )


def locate(full_name: str, pool: DescriptorPool, files: Mapping[str, File]) -> Location | None:
    """Where ``full_name`` is declared, or None when the set has nothing of that name."""
    # The pool does not find methods by name, but their services.
    for name in (full_name, full_name.rpartition(".")[0]):
        try:
            file = files[pool.FindFileContainingSymbol(name).name]
        except KeyError:
            continue
        path = _path_of(file.descriptor, full_name)
        return None if path is None else file.source.location(path)
    return None


def _find_declaration(full_name: str, files: Sequence[File]) -> Location | None:
    for file in files:
        if (path := _path_of(file.descriptor, full_name)) is not None:
            return file.source.location(path)
    return None


def _locate(file: File, full_name: str) -> Location:
    path = _path_of(file.descriptor, full_name)
    return Location(file.name) if path is None else file.source.location(path)


def _path_of(file: FileDescriptorProto, full_name: str) -> Path | None:
    package = f"{file.package}." if file.package else ""
    return find_path(file, full_name.removeprefix(package)) if full_name.startswith(package) else None
