"""Descriptor sets as protoc and buf make them, for the tests of the manifest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

from toolkit.cli.compile import include_paths
from toolkit.errors import ManifestError, Problem
from toolkit.manifest import read_manifest

PROTOS = Path(__file__).resolve().parent.parent / "protos"
BIN = Path(sys.executable).parent

#: Compile these files, by name, and all that they import; the first argument's keys are all targets by default.
Protoc = Callable[..., bytes]


def run_protoc(
    folder: Path,
    targets: Sequence[str],
    *,
    includes: Sequence[Path] = (),
    source_info: bool = True,
    imports: bool = True,
) -> bytes:
    """What stock protoc writes for files below ``folder``."""
    out = folder / "out.pb"
    arguments = ["protoc", f"-I{folder}", *(f"-I{path}" for path in (*includes, *include_paths()))]
    arguments += ["--include_imports"] * imports + ["--include_source_info"] * source_info
    assert protoc.main([*arguments, f"--descriptor_set_out={out}", *targets]) == 0
    return out.read_bytes()


def run_buf(folder: Path, *arguments: str) -> bytes:
    """What buf writes for the workspace in ``folder``."""
    done = subprocess.run(
        [str(BIN / "buf"), "build", *arguments, "-o", "-#format=binpb"],
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=25,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts under their names."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def service_proto(
    declarations: str, *, name: str = "S", package: str = "t", body: str = "rpc Ping(M) returns (M);"
) -> str:
    """A file with options, which begin on line 4, and one service; the imports are on line 3."""
    return (
        f'syntax = "proto3";\npackage {package};\nimport "toolkit/annotations.proto";\n'
        f"{declarations}\nmessage M {{}}\nservice {name} {{\n{body}\n}}\n"
    )


def parse(data: bytes) -> FileDescriptorSet:
    """The set, to be changed."""
    return FileDescriptorSet.FromString(data)


def problems_of(*sets: bytes, services: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Problem, ...]:
    """The problems with which reading these sets ends."""
    try:
        read_manifest(*sets, services=services, names=names)
    except ManifestError as error:
        return error.problems
    raise AssertionError("the sets were read")


def report_of(*sets: bytes, services: Sequence[str] = (), names: Sequence[str] = ()) -> str:
    """The text of all problems with which reading these sets ends."""
    return "\n".join(str(problem) for problem in problems_of(*sets, services=services, names=names))
