"""Several sets to one list of files: every file once, everything imported there, dependencies first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import Location
from toolkit.manifest.names import nearest
from toolkit.manifest.sets import DescriptorSet, File
from toolkit.manifest.source import SourceInfo

__all__ = ["merge_sets"]

_ANNOTATION_PATHS = frozenset(
    {
        "toolkit/annotations.proto",
        "github.com/lastbackend/toolkit/protoc-gen-toolkit/toolkit/options/annotations.proto",
    }
)
_EXTENDEES = frozenset(f".google.protobuf.{kind}Options" for kind in ("File", "Service", "Method"))
_OPTION_NAMES = frozenset({"plugins", "services", "runtime", "route"})

#: A longer path of imports is drawn with its middle left out.
_MAX_DRAWN = 12


def merge_sets(sets: Sequence[DescriptorSet], findings: Findings) -> tuple[File, ...]:
    """All files of all sets, each once, dependencies first.

    A file that two sets carry must say the same in both, its source info aside. The files
    of ``google/protobuf`` and toolkit's annotations may differ: the first of the former is
    taken, and of the latter the one that declares most, for whatever another one declares
    has the same numbers there.
    """
    files: dict[str, File] = {}
    annotations: list[File] = []
    conflicting: set[str] = set()
    for file in (file for one in sets for file in one.files):
        if _declares_options(file.descriptor):
            annotations.append(file)
        known = files.setdefault(file.name, file)
        if known is file or file.name in conflicting:
            continue
        if not known.source and file.source:
            files[file.name] = attrs.evolve(known, source=file.source)
        if not _may_differ(file) and not _may_differ(known) and not _is_same(known, file):
            conflicting.add(file.name)
            _add_conflict(known, file, sets, findings)
    _keep_one_annotations_file(files, annotations)
    _check_imports(files, findings)
    return _order(files, findings)


def _declares_options(file: FileDescriptorProto) -> bool:
    """Whether this is a copy of toolkit's annotations, whatever its path."""
    return file.package == "toolkit" and any(
        extension.name in _OPTION_NAMES and extension.extendee in _EXTENDEES for extension in file.extension
    )


def _may_differ(file: File) -> bool:
    return (
        file.name.startswith("google/protobuf/")
        or file.name in _ANNOTATION_PATHS
        or _declares_options(file.descriptor)
    )


def _keep_one_annotations_file(files: dict[str, File], annotations: Sequence[File]) -> None:
    """Let one copy declare the options, and every other copy's path lead to it."""
    if not annotations:
        return
    kept = max(annotations, key=lambda file: _count_declarations(file.descriptor))
    for copy in annotations:
        if copy.name == kept.name:
            files[copy.name] = kept
        else:
            files[copy.name] = _forward(copy.name, kept.name)


def _count_declarations(file: FileDescriptorProto) -> int:
    return len(file.extension) + sum(len(message.field) for message in file.message_type)


def _forward(name: str, target: str) -> File:
    """A file that only does ``import public`` of ``target``."""
    descriptor = FileDescriptorProto(name=name, dependency=[target], public_dependency=[0], syntax="proto3")
    return File(
        descriptor=descriptor,
        data=descriptor.SerializeToString(),
        source=SourceInfo(name, b""),
        is_import=True,
    )


def _is_same(one: File, other: File) -> bool:
    """Whether two compilers' results mean the same file."""
    return one.data == other.data or _normalize(one.descriptor) == _normalize(other.descriptor)


def _normalize(file: FileDescriptorProto) -> FileDescriptorProto:
    """A copy without what compilers write differently: JSON names that follow from the names, the oldest syntax."""
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    if copy.syntax == "proto2":
        copy.ClearField("syntax")
    messages = list(copy.message_type)
    fields = list(copy.extension)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        fields.extend(message.field)
        fields.extend(message.extension)
    for field in fields:
        if field.json_name == _json_name(field.name):
            field.ClearField("json_name")
    return copy


def _json_name(name: object) -> str:
    """The lowerCamelCase that protoc gives to a field without ``json_name``."""
    first, *rest = name.split("_") if isinstance(name, str) else ("",)
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _add_conflict(known: File, file: File, sets: Sequence[DescriptorSet], findings: Findings) -> None:
    holders = [one.label for one in sets if any(held.name == file.name for held in one.files)]
    within = f"twice in {holders[0]}" if len(holders) == 1 else "in " + " and ".join(holders)
    findings.add(
        "conflicting_file",
        f"the file is there {within}, with different content",
        where=file.name,
        why=_describe_difference(known.descriptor, file.descriptor),
        fix="compile every set from the same version of the file, or all of them into one set",
    )


def _describe_difference(one: FileDescriptorProto, other: FileDescriptorProto) -> str:
    """The first declaration that only one of the two has, or the first that differs."""
    first, second = _normalize(one), _normalize(other)
    for kind, ones, others in (
        ("message", first.message_type, second.message_type),
        ("enum", first.enum_type, second.enum_type),
        ("service", first.service, second.service),
        ("extension", first.extension, second.extension),
    ):
        left = {item.name: item for item in ones}
        right = {item.name: item for item in others}
        for name in (*left, *right):
            if name not in left or name not in right:
                return f"only one of them has the {kind} {name}"
            if left[name] != right[name]:
                return f"the {kind} {name} differs"
    return ""


def _check_imports(files: dict[str, File], findings: Findings) -> None:
    missing: dict[str, list[Location]] = {}
    for file in files.values():
        for name, path in file.imports:
            if name not in files:
                missing.setdefault(name, []).append(file.source.location(path))
    for name, importers in missing.items():
        why = ""
        if len(importers) > 1:
            others = ", ".join(str(location) for location in importers[1:4])
            rest = len(importers) - 4
            why = f"imported by {others}" + (f" and {rest} more" if rest > 0 else "") + " as well"
        elif near := nearest(name, files):
            why = f"the nearest file that the set has is {near}"
        findings.add(
            "missing_import",
            f"imports {name}, which is not in the descriptor set",
            where=importers[0],
            why=why,
            fix="compile with protoc --include_imports --descriptor_set_out=…, with buf build, "
            "or with: toolkit compile",
        )


def _order(files: dict[str, File], findings: Findings) -> tuple[File, ...]:
    """Dependencies first, else as the sets have them; cycles are found here."""
    ordered: dict[str, File] = {}
    for name in files:
        # A stack instead of recursion: a chain of imports may be longer than Python's own stack.
        path: dict[str, None] = {}
        stack = [(name, iter(_imports_of(name, files)))] if name not in ordered else []
        path.update((name, None) for name, _ in stack)
        while stack:
            current, pending = stack[-1]
            wanted = next((each for each in pending if each not in ordered), None)
            if wanted is None:
                stack.pop()
                path.pop(current)
                ordered[current] = files[current]
            elif wanted in path:
                _add_cycle([*path], wanted, files, findings)
            else:
                path[wanted] = None
                stack.append((wanted, iter(_imports_of(wanted, files))))
    return tuple(ordered.values())


def _imports_of(name: str, files: dict[str, File]) -> Iterable[str]:
    return (each for each, _ in files[name].imports if each in files)


def _add_cycle(path: Sequence[str], back_to: str, files: dict[str, File], findings: Findings) -> None:
    cycle = [*path[path.index(back_to) :], back_to]
    shown = cycle if len(cycle) <= _MAX_DRAWN else [*cycle[: _MAX_DRAWN // 2], "…", *cycle[-_MAX_DRAWN // 2 :]]
    closing = files[cycle[-2]]
    line = next(path for name, path in closing.imports if name == back_to)
    findings.add(
        "import_cycle",
        "the files import one another in a circle" if len(cycle) > 2 else "the file imports itself",
        where=closing.source.location(line),
        why=" → ".join(shown),
        fix="move what they share into a file of its own" if len(cycle) > 2 else "remove the import",
    )
