"""A proto with every kind of field, as a manifest and as the module that protoc generates from it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no stubs

from toolkit.manifest import Manifest, read_manifest

THINGS = """\
syntax = "proto3";
package things.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; COLOR_BLUE = 2; }
message Part { string name = 1; Part inner = 2; }
message Thing {
  int64 id = 1;
  string name = 2;
  bytes data = 3;
  double weight = 4;
  bool good = 5;
  Color color = 6;
  optional string note = 7;
  Part part = 8;
  repeated Part parts = 9;
  repeated int32 numbers = 10;
  map<string, int32> counts = 11;
  map<int32, Part> by_number = 12;
  repeated Color colors = 13;
  oneof choice { string text = 14; int32 number = 15; Part chosen = 16; }
  google.protobuf.Timestamp made = 17;
  google.protobuf.Duration took = 18;
  google.protobuf.StringValue nick = 19;
  google.protobuf.Struct extra = 20;
  google.protobuf.Value any_value = 21;
  google.protobuf.ListValue list = 22;
  google.protobuf.FieldMask mask = 23;
  google.protobuf.Any packed = 24;
  repeated google.protobuf.Timestamp times = 25;
  uint32 small = 26;
}

service Things {
  rpc Put(Thing) returns (Thing);
  rpc Nothing(google.protobuf.Empty) returns (google.protobuf.Empty);
}
"""


@pytest.fixture(scope="session")
def compiled() -> Iterator[tuple[bytes, ModuleType]]:
    """The descriptor set, and the generated module."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "things.proto").write_text(THINGS)
        arguments = [
            "protoc",
            f"-I{path}",
            f"-I{files('grpc_tools') / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={path / 'things.pb'}",
            f"--python_out={path}",
            str(path / "things.proto"),
        ]
        assert protoc.main(arguments) == 0
        sys.path.insert(0, folder)
        yield (path / "things.pb").read_bytes(), importlib.import_module("things_pb2")
        sys.path.remove(folder)


@pytest.fixture(scope="session")
def things(compiled: tuple[bytes, ModuleType]) -> Manifest:
    """The manifest of things.proto."""
    return read_manifest(compiled[0])


@pytest.fixture(scope="session")
def generated(compiled: tuple[bytes, ModuleType]) -> ModuleType:
    """``things_pb2``."""
    return compiled[1]
