"""Several sets to one list of files: every file once, everything imported there, dependencies first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import Location
from toolkit.manifest.names import draw_path
from toolkit.manifest.sets import DescriptorSet, File
from toolkit.manifest.source import SourceInfo

__all__ = ["Doubt", "merge_sets"]

_ANNOTATION_PATHS = frozenset(
    {
        "toolkit/annotations.proto",
        "github.com/lastbackend/toolkit/protoc-gen-toolkit/toolkit/options/annotations.proto",
    }
)
_DESCRIPTOR = "google/protobuf/descriptor.proto"

_EXTENDEES = frozenset(f".google.protobuf.{kind}Options" for kind in ("File", "Service", "Method"))
_OPTION_NAMES = frozenset({"plugins", "services", "runtime", "route"})


@attrs.frozen(kw_only=True)
class Doubt:
    """Two descriptors of one file that are not the same bytes; whether they mean the same is still open."""

    kept: File
    #: What reports call the set that has it.
    kept_in: str
    other: File
    other_in: str


def merge_sets(sets: Sequence[DescriptorSet], findings: Findings) -> tuple[tuple[File, ...], tuple[Doubt, ...]]:
    """All files of all sets, each once, dependencies first; and the files that have two contents.

    A file that two sets carry must say the same in both, its source info aside. The files
    of ``google/protobuf`` and toolkit's annotations may differ: the first of the former is
    taken, and of the latter the one that declares most, for whatever another one declares
    has the same numbers there. The descriptor of descriptors is the installed protobuf's
    own: it knows all that the reader asks for, whatever compiler wrote the set.
    """
    files: dict[str, File] = {}
    labels: dict[str, str] = {}
    annotations: list[File] = []
    doubts: dict[tuple[str, bytes], Doubt] = {}
    for label, file in ((one.label, file) for one in sets for file in one.files):
        if _declares_options(file.descriptor):
            annotations.append(file)
        known = files.setdefault(file.name, file)
        if known is file:
            labels[file.name] = label
            continue
        if not known.source and file.source:
            files[file.name] = attrs.evolve(known, source=file.source)
        if known.data != file.data and not _may_differ(file) and not _may_differ(known):
            doubt = Doubt(kept=known, kept_in=labels[file.name], other=file, other_in=label)
            doubts.setdefault((file.name, file.data), doubt)
    _keep_one_annotations_file(files, annotations)
    if _DESCRIPTOR in files:
        files[_DESCRIPTOR] = _own_file(descriptor_pb2.DESCRIPTOR.serialized_pb)
    _check_imports(files, findings)
    return _order(files, findings), tuple(doubts.values())


def _declares_options(file: FileDescriptorProto) -> bool:
    """Whether this is a copy of toolkit's annotations, whatever its path."""
    return file.package == "toolkit" and any(
        extension.name in _OPTION_NAMES and extension.extendee in _EXTENDEES for extension in file.extension
    )


def _may_differ(file: File) -> bool:
    return (
        file.name.startswith("google/protobuf/") or file.name in _ANNOTATION_PATHS or _declares_options(file.descriptor)
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
    return _own_file(descriptor.SerializeToString())


def _own_file(data: bytes) -> File:
    """A file that no set has in this form."""
    descriptor = FileDescriptorProto.FromString(data)
    return File(descriptor=descriptor, data=data, source=SourceInfo(descriptor.name, b""), is_import=True)


def _check_imports(files: dict[str, File], findings: Findings) -> None:
    missing: dict[str, list[Location]] = {}
    for file in files.values():
        for name, path in file.imports:
            if name not in files:
                missing.setdefault(name, []).append(file.source.location(path))
    for name, importers in missing.items():
        others = importers[1:4]
        why = ""
        if others:
            rest = len(importers) - 1 - len(others)
            why = f"so does {', '.join(map(str, others))}{f' and {rest} more' if rest else ''}"
        elif elsewhere := next((held for held in files if held.endswith(f"/{_base(name)}") or held == _base(name)), ""):
            why = f"the set has {elsewhere}: perhaps it was compiled from another folder than its importer expects"
        findings.add(
            "missing_import",
            f"imports {name}, which is not in the descriptor set",
            where=importers[0],
            why=why,
            fix="compile with protoc --include_imports --descriptor_set_out=…, with buf build, "
            "or with: toolkit compile",
        )


def _base(name: str) -> str:
    return name.rpartition("/")[2]


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
    closing = files[cycle[-2]]
    line = next(path for name, path in closing.imports if name == back_to)
    findings.add(
        "import_cycle",
        "the files import one another in a circle" if len(cycle) > 2 else "the file imports itself",
        where=closing.source.location(line),
        why=draw_path(cycle),
        fix="move what they share into a file of its own" if len(cycle) > 2 else "remove the import",
    )
