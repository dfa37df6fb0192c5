"""Imports, cycles, files that two sets carry, and files that protobuf itself refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.manifest.compilers import parse, problems_of, report_of, service_proto
from toolkit.manifest import read_manifest

Compile = Callable[..., bytes]

COMPILE_WITH_IMPORTS = (
    "  → compile with protoc --include_imports --descriptor_set_out=…, with buf build, or with: toolkit compile"
)


def test_a_missing_import_is_named_with_its_line(compile_set: Compile) -> None:
    """A set without its imports says which file is missing, who imports it where, and the cure."""
    assert report_of(compile_set({"a.proto": service_proto("")}, imports=False)) == (
        "a.proto:3: imports toolkit/annotations.proto, which is not in the descriptor set\n" + COMPILE_WITH_IMPORTS
    )


def test_a_missing_import_without_source_info_is_named_without_line(compile_set: Compile) -> None:
    """Without source info the file is named alone."""
    report = report_of(compile_set({"a.proto": service_proto("")}, imports=False, source_info=False))
    assert report.startswith("a.proto: imports toolkit/annotations.proto, which is not in the descriptor set\n")


def test_a_missing_import_lists_its_other_importers(compile_set: Compile) -> None:
    """A file that several others import is one problem."""
    files = {f"{name}.proto": service_proto("", package=name) for name in "abcdef"}
    assert report_of(compile_set(files, imports=False)) == (
        "a.proto:3: imports toolkit/annotations.proto, which is not in the descriptor set\n"
        "    so does b.proto:3, c.proto:3, d.proto:3 and 2 more\n" + COMPILE_WITH_IMPORTS
    )


def test_every_missing_import_is_reported(protos: Compile) -> None:
    """All that is missing comes in one report."""
    problems = problems_of(protos("shop/v1/users.proto", imports=False))
    assert [(problem.code, problem.where) for problem in problems] == [
        ("manifest.missing_import", f"shop/v1/users.proto:{line}") for line in range(5, 9)
    ]


def test_a_missing_option_import_is_reported(protos: Compile) -> None:
    """What edition 2024 imports for options alone must be in the set as well."""
    assert report_of(protos("shop/report.proto", imports=False)) == (
        "shop/report.proto:5: imports toolkit/annotations.proto, which is not in the descriptor set\n"
        + COMPILE_WITH_IMPORTS
    )


def test_an_import_under_another_path_is_pointed_out(compile_set: Compile) -> None:
    """When the set has a file of that name elsewhere, the report says so."""
    changed = parse(compile_set({"a.proto": service_proto("")}))
    changed.file[-1].dependency[0] = "options/annotations.proto"
    assert report_of(changed.SerializeToString()) == (
        "a.proto:3: imports options/annotations.proto, which is not in the descriptor set\n"
        "    the set has toolkit/annotations.proto: perhaps it was compiled from another folder "
        "than its importer expects\n" + COMPILE_WITH_IMPORTS
    )


def _connect(*edges: tuple[str, str]) -> bytes:
    files: dict[str, FileDescriptorProto] = {}
    for importer, imported in edges:
        for name in (importer, imported):
            files.setdefault(name, FileDescriptorProto(name=name, syntax="proto3"))
        files[importer].dependency.append(imported)
    return FileDescriptorSet(file=files.values()).SerializeToString()


@pytest.mark.parametrize(
    ("edges", "report"),
    [
        (
            [("a.proto", "b.proto"), ("b.proto", "c.proto"), ("c.proto", "a.proto")],
            "c.proto: the files import one another in a circle\n"
            "    a.proto → b.proto → c.proto → a.proto\n"
            "  → move what they share into a file of its own",
        ),
        (
            [("a.proto", "b.proto"), ("b.proto", "b.proto")],
            "b.proto: the file imports itself\n    b.proto → b.proto\n  → remove the import",
        ),
        (
            [(f"{n}.proto", f"{(n + 1) % 30}.proto") for n in range(30)],
            "29.proto: the files import one another in a circle\n"
            "    0.proto → 1.proto → 2.proto → 3.proto → 4.proto → 5.proto → … → "
            "25.proto → 26.proto → 27.proto → 28.proto → 29.proto → 0.proto\n"
            "  → move what they share into a file of its own",
        ),
    ],
    ids=["three", "itself", "long"],
)
def test_an_import_cycle_is_drawn(edges: list[tuple[str, str]], report: str) -> None:
    """Files that import one another are drawn as the path that leads back; a long one is shortened."""
    assert report_of(_connect(*edges)) == report


def test_a_cycle_has_the_line_of_the_import_that_closes_it(compile_set: Compile) -> None:
    """With source info, the cycle's place is the import statement."""
    files = {
        "a.proto": 'syntax = "proto3";\n\nimport "b.proto";\nmessage A { B b = 1; }',
        "b.proto": 'syntax = "proto3";\nmessage B {}',
    }
    changed = parse(compile_set(files))
    changed.file[0].dependency.append("a.proto")
    # The set has b.proto first, so the way round begins there.
    assert [problem.where for problem in problems_of(changed.SerializeToString())] == ["a.proto:3"]


def test_a_chain_of_ten_thousand_imports_is_no_trouble() -> None:
    """The depth of imports is bounded by nothing but the cap on the set."""
    edges = [(f"{n}.proto", f"{n + 1}.proto") for n in range(10_000)]
    assert [problem.code for problem in problems_of(_connect(*edges))] == ["manifest.no_service"]


def test_two_sets_may_carry_the_same_file(protos: Compile) -> None:
    """Files are compared without their source info."""
    manifest = read_manifest(protos("greeter.proto", source_info=False), protos("greeter.proto"))
    assert manifest.files == ("greeter.proto",)
    assert manifest.services[0].location.line == 6


def test_a_file_with_two_contents_is_refused(compile_set: Compile) -> None:
    """Two sets that carry different versions of a file are refused, and the first difference is named."""
    one = compile_set({"a.proto": service_proto("")})
    other = parse(one)
    other.file[-1].message_type.add(name="Extra")
    assert report_of(one, other.SerializeToString(), names=["one.pb", "two.pb"]) == (
        "a.proto: the file is there twice, with different content\n"
        "    in one.pb and in two.pb: only one of them has the message Extra\n"
        "  → compile every set from the same version of the file, or all of them into one set"
    )


def test_a_file_twice_in_one_set_with_two_contents_is_refused(compile_set: Compile) -> None:
    """The same within one set; what differs may be a part of a declaration."""
    data = parse(compile_set({"a.proto": service_proto("")}))
    data.file.append(data.file[-1])
    assert read_manifest(data.SerializeToString()).files[-1] == "a.proto"
    data.file[-1].service[0].method[0].server_streaming = True
    assert report_of(data.SerializeToString()) == (
        "a.proto: the file is there twice, with different content\n"
        "    both in descriptor set: the service S differs\n"
        "  → compile every set from the same version of the file, or all of them into one set"
    )
    del data.file[-1].service[0].method[0]
    data.file[-1].service[0].CopyFrom(data.file[-2].service[0])
    data.file[-1].options.java_package = "elsewhere"
    assert "both in descriptor set: their options or imports differ" in report_of(data.SerializeToString())


def test_json_names_that_follow_from_the_names_do_not_count(protos: Compile) -> None:
    """Some compilers write JSON names and some do not: only one that was chosen makes a difference."""
    one, other = protos("shop/v1/types.proto", "shop/v1/users.proto"), parse(protos("shop/v1/users.proto"))
    types = next(file for file in other.file if file.name == "shop/v1/types.proto")
    assert types.message_type[0].field[1].json_name == "emailAddress"
    types.message_type[0].field[1].ClearField("json_name")
    assert read_manifest(one, other.SerializeToString()).plugins
    types.message_type[0].field[1].json_name = "mail"
    assert "the message User differs" in report_of(one, other.SerializeToString())


def test_googles_own_files_may_differ(protos: Compile) -> None:
    """Sets of different compilers may carry different versions of google/protobuf/*."""
    one, other = protos("shop/v1/users.proto"), parse(protos("shop/v1/users.proto"))
    for file in other.file:
        if file.name.startswith("google/protobuf/"):
            file.options.java_package = "elsewhere"
    assert read_manifest(one, other.SerializeToString()).plugins


def test_toolkits_annotations_may_differ(compile_set: Compile) -> None:
    """Sets may be made with different versions of the annotations: the one with most declarations is kept."""
    ours = compile_set({"a.proto": service_proto('option (toolkit.app).name = "a";')})
    older = parse(compile_set({"b.proto": service_proto("", package="u")}))
    annotations = next(file for file in older.file if file.name == "toolkit/annotations.proto")
    del annotations.extension[3]  # app
    for sets in ((ours, older.SerializeToString()), (older.SerializeToString(), ours)):
        manifest = read_manifest(*sets)
        assert manifest.app is not None
        assert manifest.app.name == "a"


def test_one_file_under_two_names_is_explained(compile_set: Compile) -> None:
    """The same proto compiled from two folders declares everything twice: the report says why."""
    sets = compile_set({"a.proto": service_proto("")}), compile_set({"api/a.proto": service_proto("")})
    assert report_of(*sets) == (
        "api/a.proto:5: t.M is declared a second time\n"
        "    they look like one file under two names: the first declaration is in a.proto:5\n"
        "  → compile both from the same folder (the same -I), so that the file has one name"
    )


def test_a_name_that_two_files_declare_is_located_in_both(compile_set: Compile) -> None:
    """Two files of one package that declare the same name are told apart by their lines."""
    sets = compile_set({"a.proto": service_proto("")}), compile_set({"b.proto": service_proto("")})
    assert report_of(*sets) == (
        "b.proto:5: t.M is declared a second time\n"
        "    the first declaration is in a.proto:5\n"
        "  → rename one of them, or give its file another package"
    )


def test_what_protobuf_refuses_is_a_problem_with_its_reason(compile_set: Compile) -> None:
    """A descriptor that no compiler would write is refused in protobuf's words, with the line where it says so."""
    data = parse(compile_set({"a.proto": service_proto("")}))
    data.file[-1].service[0].method[0].input_type = ".t.Missing"
    assert report_of(data.SerializeToString()) == (
        "a.proto: the file's descriptor is not valid\n"
        "    protobuf says: couldn't resolve name '.t.Missing'\n"
        "  → compile the set again, with a current protoc or buf"
    )


def test_each_file_that_protobuf_refuses_is_a_problem(compile_set: Compile) -> None:
    """Several invalid files are reported at once; those that only import them are not."""
    files = {
        "a.proto": 'syntax = "proto3"; message A {}',
        "b.proto": 'syntax = "proto3"; message B {}',
        "c.proto": 'syntax = "proto3"; import "a.proto"; message C { A a = 1; } service S { rpc X(A) returns (C); }',
    }
    data = parse(compile_set(files))
    for file in data.file[:2]:
        file.syntax = "proto9"
    assert [(problem.where, problem.why) for problem in problems_of(data.SerializeToString())] == [
        ("a.proto", "protobuf says: Invalid syntax 'proto9'"),
        ("b.proto", "protobuf says: Invalid syntax 'proto9'"),
    ]


@pytest.mark.parametrize("depth", [50, 90, 110, 3_000])
def test_deep_nesting_ends_in_a_manifest_or_a_problem(compile_set: Compile, depth: int) -> None:
    """Messages in messages beyond any depth neither crash the process nor escape as another error."""
    message = _field(1, b"Deep")
    for _ in range(depth):
        message = _field(1, b"Deep") + _field(3, message)
    files = [file.SerializeToString() for file in parse(compile_set({"a.proto": service_proto("")})).file]
    files[-1] += _field(4, message)
    data = b"".join(_field(1, file) for file in files)
    if depth < 95:
        assert read_manifest(data).files[-1] == "a.proto"
    else:
        assert [problem.code for problem in problems_of(data)] == ["manifest.damaged_file"]


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field as bytes; protobuf itself refuses to write what is nested this deep."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
