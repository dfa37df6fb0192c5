"""Options that this version of toolkit does not know, or that are declared otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.manifest.compilers import parse, report_of, service_proto
from toolkit.cli.compile import schemas_path
from toolkit.manifest import read_manifest

Compile = Callable[..., bytes]

ANNOTATIONS = "toolkit/annotations.proto"
NEWER = (
    "    the set was compiled with newer annotations than this version's\n"
    '  → update toolkit, or compile with its own annotations: -I "$(toolkit schemas)"'
)
OURS = '  → compile with the annotations of toolkit: -I "$(toolkit schemas)"'


def _changed_annotations(*changes: tuple[str, str]) -> str:
    text = (schemas_path() / ANNOTATIONS).read_text(encoding="utf-8")
    for before, after in changes:
        assert text.count(before) >= 1
        text = text.replace(before, after, 1)
    return text


def _compile_against(compile_set: Compile, annotations: str, declarations: str, body: str = "") -> bytes:
    files = {ANNOTATIONS: annotations, "a.proto": service_proto(declarations, body=body)}
    return compile_set(files, "a.proto")


def test_newer_annotations_are_named_where_they_are_used(compile_set: Compile) -> None:
    """A field, an option and an enum value that came later are problems at their lines, all at once."""
    newer = _changed_annotations(
        ("  repeated string needs = 102;", "  repeated string needs = 102;\n  int32 retries = 103;"),
        ("  App app = 50100;", "  App app = 50100;\n  string quota = 50101;"),
        ("WEBSOCKET = 3;", "WEBSOCKET = 3; QUIC = 4;"),
        ("  repeated string middlewares = 1;", "  repeated string middlewares = 1; bool log = 2;"),
    )
    data = _compile_against(
        compile_set,
        newer,
        'option (toolkit.plugins) = {prefix: "a" plugin: "redis" retries: 3};\noption (toolkit.quota) = "x";',
        "option (toolkit.runtime).servers = QUIC;\noption (toolkit.server).log = true;",
    )
    assert report_of(data) == (
        "a.proto:4: toolkit.Plugin.retries is set, which this version of toolkit does not know\n"
        f"{NEWER}\n"
        "a.proto:5: (toolkit.quota) is set, which this version of toolkit does not know\n"
        f"{NEWER}\n"
        "a.proto:8: (toolkit.runtime).servers has the value 4, which this version of toolkit does not know\n"
        "    it knows GRPC = 0, HTTP = 1, WEBSOCKET_PROXY = 2, WEBSOCKET = 3\n"
        '  → update toolkit, or compile with its own annotations: -I "$(toolkit schemas)"\n'
        "a.proto:9: toolkit.Server.log is set, which this version of toolkit does not know\n" + NEWER
    )


def test_newer_annotations_that_are_not_used_are_no_problem(compile_set: Compile) -> None:
    """That a newer field exists changes nothing for a manifest which does not set it."""
    newer = _changed_annotations(
        ("  repeated string needs = 102;", "  repeated string needs = 102;\n  int32 retries = 103;")
    )
    data = _compile_against(compile_set, newer, 'option (toolkit.plugins) = {prefix: "a" plugin: "redis"};')
    assert [plugin.prefix for plugin in read_manifest(data).plugins] == ["a"]


def test_a_field_that_even_the_set_does_not_declare_is_named_by_number(compile_set: Compile) -> None:
    """An option whose bytes hold an undeclared field was written by newer annotations than the set carries."""
    changed = parse(
        compile_set({"a.proto": service_proto('option (toolkit.plugins) = {prefix: "a" plugin: "redis"};')})
    )
    options = changed.file[-1].options
    plugin = b"\x0a\x05redis\x12\x01a\xb8\x06\x03"
    options.ParseFromString(b"\x8a\xb5\x18" + bytes([len(plugin)]) + plugin)
    assert report_of(changed.SerializeToString()) == (
        "a.proto:4: field 103 of toolkit.Plugin is set, which this version of toolkit does not know\n" + NEWER
    )


def test_options_that_are_declared_otherwise_are_refused(compile_set: Compile) -> None:
    """A copy of the annotations with other types or numbers cannot be read, and is told so."""
    foreign = _changed_annotations(
        ("string prefix = 2;", "int32 prefix = 2;"),
        ("map<string, string> settings = 101;", "map<string, int32> settings = 101;"),
        ("Server server = 70002;", "string server = 70002;"),
        ("Route route = 60001;", "Route route = 60009;"),
    )
    data = _compile_against(
        compile_set,
        foreign,
        'option (toolkit.plugins) = {prefix: 7 plugin: "redis"};\n'
        'option (toolkit.plugins) = {plugin: "redis" settings {key: "a" value: 1}};',
        'option (toolkit.server) = "x";\nrpc Ping(M) returns (M) {\n option (toolkit.route).websocket = true;\n}',
    )
    text = report_of(data)
    for where, what, why in (
        ("a.proto:4", "toolkit.Plugin.prefix", "it is field 2"),
        ("a.proto:5", "toolkit.Plugin.settings", "it is field 101"),
        ("a.proto:8", "(toolkit.server)", "it is field 70002"),
        ("a.proto:10", "(toolkit.route)", "it is field 60009"),
    ):
        head = f"{where}: {what} is declared otherwise than toolkit reads it"
        assert f"{head}\n    {why} of toolkit/annotations.proto\n{OURS}" in text


def test_options_that_cannot_be_decoded_are_located(compile_set: Compile) -> None:
    """Option bytes that do not fit their declaration are a problem of that file, service or method."""
    changed = parse(compile_set({"a.proto": service_proto("", body="\nrpc Ping(M) returns (M);")}))
    # Field 50001, 70001 or 60001, whose payload begins a field of its own that never ends.
    changed.file[-1].options.ParseFromString(b"\x8a\xb5\x18\x01\x0a")
    changed.file[-1].service[0].options.ParseFromString(b"\x8a\x97\x22\x01\x0a")
    changed.file[-1].service[0].method[0].options.ParseFromString(b"\x8a\xa6\x1d\x01\x0a")
    why = (
        "    their bytes do not fit the declarations of the options in the set\n"
        "  → compile the set again, all of it at once"
    )
    assert report_of(changed.SerializeToString()) == (
        f"a.proto: the options of this file cannot be decoded\n{why}\n"
        f"a.proto:6: the options of this service cannot be decoded\n{why}\n"
        f"a.proto:8: the options of this method cannot be decoded\n{why}"
    )


def test_text_that_is_no_utf8_is_refused(compile_set: Compile) -> None:
    """A copy of the annotations in proto2 lets a string hold any bytes; that is a problem, not a crash."""
    proto2 = (
        'syntax = "proto2"; package toolkit; import "google/protobuf/descriptor.proto";'
        "message Plugin { optional string plugin = 1; optional string prefix = 2; }"
        "extend google.protobuf.FileOptions { repeated Plugin plugins = 50001; }"
    )
    good = 'option (toolkit.plugins) = {prefix: "abc" plugin: "redis"};'
    data = _compile_against(compile_set, proto2, good)
    assert [plugin.prefix for plugin in read_manifest(data).plugins] == ["abc"]
    assert data.count(b"\x12\x03abc") == 1
    assert report_of(data.replace(b"\x12\x03abc", b"\x12\x03a\xffc")) == (
        "a.proto:4: the option field toolkit.Plugin.prefix is not valid UTF-8\n"
        "  → compile the set again, from a file that is UTF-8\n"
        "a.proto:4: plugin 'redis' is declared without a prefix\n"
        "    the prefix names the instance: in handlers, and in its environment variables\n"
        '  → add one: {prefix: "redis" plugin: "redis"}'
    )


@pytest.mark.parametrize(
    "extension",
    [
        # Another company's extension under one of our numbers, and a name of ours elsewhere.
        "package other; extend google.protobuf.FileOptions { string plugins = 50001; }",
        "package other.toolkit; extend google.protobuf.FileOptions { string plugins = 50777; }",
    ],
)
def test_other_peoples_options_are_none_of_ours(compile_set: Compile, extension: str) -> None:
    """An extension is ours by its full name alone."""
    name = "other.toolkit.plugins" if "other.toolkit" in extension else "other.plugins"
    files = {
        "x.proto": f'syntax = "proto3"; import "google/protobuf/descriptor.proto"; {extension}',
        "a.proto": f'syntax = "proto3"; package t; import "x.proto"; option ({name}) = "v"; message M {{}}'
        " service S { rpc A(M) returns (M); }",
    }
    manifest = read_manifest(compile_set(files, "a.proto"))
    assert manifest.plugins == ()
    assert manifest.pool.FindExtensionByName(name).number in (50001, 50777)


def test_http_rules_that_are_declared_otherwise_are_left_out(compile_set: Compile) -> None:
    """A google.api.http of someone's own is no problem of the manifest, and no rule."""
    files = {
        "google/api/annotations.proto": 'syntax = "proto3"; package google.api;'
        ' import "google/protobuf/descriptor.proto";'
        " extend google.protobuf.MethodOptions { string http = 72295728; }",
        "a.proto": 'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M {}'
        ' service S { rpc A(M) returns (M) { option (google.api.http) = "/x"; } }',
    }
    method = next(read_manifest(compile_set(files, "a.proto")).methods())
    assert method.http == ()


def test_a_rule_without_a_pattern_is_left_out(compile_set: Compile) -> None:
    """An empty google.api.http binds nothing."""
    files = {
        "a.proto": 'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M {}'
        ' service S { rpc A(M) returns (M) { option (google.api.http) = {body: "*"}; } }',
    }
    assert next(read_manifest(compile_set(files, "a.proto")).methods()).http == ()


def test_unknown_options_of_what_is_not_served_are_no_problem(compile_set: Compile) -> None:
    """A gateway does not fail because a service that it proxies was declared with a newer toolkit."""
    newer = _changed_annotations(
        ("  repeated string needs = 102;", "  repeated string needs = 102;\n  int32 retries = 103;")
    )
    theirs = 'option (toolkit.plugins) = {prefix: "x" plugin: "redis" retries: 3};'
    files = {
        ANNOTATIONS: newer,
        "theirs.proto": service_proto(theirs, package="u"),
        "a.proto": service_proto('import "theirs.proto";', body="rpc Ping(u.M) returns (M);"),
    }
    assert read_manifest(compile_set(files, "a.proto")).plugins == ()
