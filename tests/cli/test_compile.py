"""toolkit compile and toolkit schemas."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.manifest.compilers import BIN, PROTOS, write_files
from tests.processes import RunToolkit
from toolkit.cli.compile import CompileError, compile_command, compile_protos, include_paths, schemas_path
from toolkit.errors import ExitCode
from toolkit.manifest import read_manifest

TYPES = 'syntax = "proto3";\npackage shop;\nmessage User {}\n'
USERS = (
    'syntax = "proto3";\npackage shop;\n'
    'import "{types}";\nimport "toolkit/annotations.proto";\nimport "google/api/annotations.proto";\n'
    'option (toolkit.plugins) = {{prefix: "db" plugin: "postgres_gorm"}};\n'
    'service Users {{ rpc Get(User) returns (User) {{ option (google.api.http) = {{get: "/users"}}; }} }}\n'
)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """A folder with users.proto, which imports types.proto under a name, each in its place."""

    def write(users: str, types: str, imported_as: str) -> Path:
        write_files(tmp_path, {users: USERS.format(types=imported_as), types: TYPES})
        return tmp_path

    return write


def _names(data: bytes) -> list[str]:
    files = FileDescriptorSet.FromString(data).file
    return [file.name for file in files if not file.name.startswith(("google/", "toolkit/"))]


def test_a_set_has_its_imports_and_its_lines(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What toolkit, protobuf and google.api define is found without -I, and the manifest has lines."""
    monkeypatch.chdir(project("users.proto", "types.proto", "types.proto"))
    manifest = read_manifest(compile_protos([Path("users.proto")]))
    assert str(manifest.plugins[0].location) == "users.proto:6"
    assert manifest.services[0].methods[0].http[0].path == "/users"


@pytest.mark.parametrize(
    ("users", "types", "imported_as", "here", "names"),
    [
        # From the project's root, as protoc itself does it.
        ("shop/users.proto", "shop/types.proto", "shop/types.proto", ".", ["shop/types.proto", "shop/users.proto"]),
        # Imports from a folder of protos below.
        ("api/x/users.proto", "api/x/types.proto", "x/types.proto", ".", ["x/types.proto", "x/users.proto"]),
        # Imports beside the file.
        ("api/users.proto", "api/types.proto", "types.proto", ".", ["types.proto", "users.proto"]),
        # From below the root.
        ("shop/users.proto", "shop/types.proto", "shop/types.proto", "shop", ["shop/types.proto", "shop/users.proto"]),
        # From elsewhere.
        ("shop/users.proto", "shop/types.proto", "shop/types.proto", "other", ["shop/types.proto", "shop/users.proto"]),
        ("a/users.proto", "a/types.proto", "types.proto", "other", ["types.proto", "users.proto"]),
    ],
)  # fmt: skip
def test_the_root_of_the_imports_is_found(
    project: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    users: str,
    types: str,
    imported_as: str,
    here: str,
    names: list[str],
) -> None:
    """Wherever one stands and however the files import one another, they compile, each under one name."""
    root = project(users, types, imported_as)
    (root / here).mkdir(exist_ok=True)
    monkeypatch.chdir(root / here)
    path = Path(os.path.relpath(root / users))
    assert _names(compile_protos([path])) == names
    assert _names(compile_protos([root / users])) == names
    assert sorted(_names(compile_protos([path.parent]))) == names


def test_a_given_folder_is_searched_first(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With -I the file has its name from there, and imports are found in any of the folders."""
    root = project("api/shop/users.proto", "common/shop/types.proto", "shop/types.proto")
    monkeypatch.chdir(root)
    data = compile_protos([Path("api/shop/users.proto")], includes=[Path("api"), Path("common")])
    assert _names(data) == ["shop/types.proto", "shop/users.proto"]
    # A file outside every given folder has its name from here.
    assert _names(compile_protos([Path("api/shop/users.proto")], includes=[Path("common")])) == [
        "shop/types.proto",
        "api/shop/users.proto",
    ]


def test_a_folder_is_compiled_with_all_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every .proto below a folder is compiled, except in environments, hidden folders and node_modules."""
    plain = 'syntax = "proto3"; package {0}; message M {{}}'
    protos = ("a.proto", "x/b.proto", "x/y/c.proto")
    others = (".hidden/d.proto", "node_modules/e.proto", "env/lib/f.proto")
    write_files(tmp_path, {name: plain.format(name[-7]) for name in (*protos, *others)})
    write_files(tmp_path, {"env/pyvenv.cfg": ""})
    monkeypatch.chdir(tmp_path)
    assert sorted(_names(compile_protos([Path()]))) == ["a.proto", "x/b.proto", "x/y/c.proto"]
    # A file that is named twice is compiled once.
    assert sorted(_names(compile_protos([Path("x"), Path("x/b.proto"), tmp_path / "x/b.proto"]))) == [
        "x/b.proto",
        "x/y/c.proto",
    ]


def test_imports_in_comments_and_strings_do_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only real import statements decide about the root."""
    text = (
        'syntax = "proto3"; // import "missing/one.proto";\n/* import "missing/two.proto"; */\n'
        "import 'b.proto'; message A { string x = 1 [json_name = \"import 'missing.proto';\"]; B b = 2; }"
    )
    write_files(
        tmp_path, {"api/a.proto": text, "api/b.proto": 'syntax = "proto3"; message B {}', "b.proto": "nonsense"}
    )
    monkeypatch.chdir(tmp_path / "api")
    assert _names(compile_protos([Path("a.proto")])) == ["b.proto", "a.proto"]


def test_a_package_of_the_current_folder_is_not_taken_for_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project may have folders called google or grpc_tools, and files called like Python's modules."""
    write_files(
        tmp_path,
        {
            "a.proto": 'syntax = "proto3"; message A {}',
            "grpc_tools/__init__.py": "raise SystemExit('wrong one')",
            "google/__init__.py": "raise SystemExit('wrong one')",
            "os.py": "raise SystemExit('wrong one')",
        },
    )
    monkeypatch.chdir(tmp_path)
    assert _names(compile_protos([Path("a.proto")])) == ["a.proto"]


@pytest.mark.parametrize("name", ["-x.proto", "@x.proto", "with space.proto", "ü.proto"])
def test_file_names_are_never_taken_for_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A file may be called like an option of protoc, or have spaces."""
    write_files(tmp_path, {name: 'syntax = "proto3"; message A {}'})
    monkeypatch.chdir(tmp_path)
    assert _names(compile_protos([Path(name)])) == [name]


def test_protocs_errors_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of the error is protoc's own, with its lines and columns, under a line that says what failed."""
    write_files(tmp_path, {"api/a.proto": 'syntax = "proto3";\nmessage A {\n  Missing b = 1;\n  Gone c = 2;\n}\n'})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompileError) as caught:
        compile_protos([Path("api/a.proto")])
    assert caught.value.output == (
        'api/a.proto:3:3: "Missing" is not defined.\napi/a.proto:4:3: "Gone" is not defined.'
    )
    assert str(caught.value) == f"api/a.proto does not compile\n{caught.value.output}"
    assert caught.value.exit_code is ExitCode.CONFIG


def test_a_missing_import_says_where_was_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an import is not found, the folders are listed, and -I is named."""
    write_files(
        tmp_path, {"a.proto": 'syntax = "proto3";\nimport "far/away.proto";\n', "b.proto": 'syntax = "proto3";'}
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompileError) as caught:
        compile_protos([Path("a.proto"), Path("b.proto")])
    folders = "\n".join(f"    {path}" for path in (".", *include_paths()))
    assert str(caught.value) == (
        "2 files do not compile\n"
        "far/away.proto: File not found.\n"
        'a.proto:2:1: Import "far/away.proto" was not found or had errors.\n'
        f"  → imports were searched in these folders; -I PATH adds one:\n{folders}"
    )


@pytest.mark.parametrize(
    ("paths", "includes", "text"),
    [
        (["missing.proto"], [], "missing.proto: there is no such file"),
        (["empty"], [], "empty: there is no .proto in this folder"),
        (["service.pb"], [], "service.pb: this is no .proto; name .proto files, or folders that hold them"),
        ([], [], "no .proto was named"),
        (["a.proto"], ["missing"], "-I {here}/missing: there is no such folder"),
    ],
)
def test_what_cannot_be_compiled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], includes: list[str], text: str
) -> None:
    """Files that are not there, folders without protos and other kinds of files are told apart."""
    write_files(tmp_path, {"a.proto": 'syntax = "proto3";', "service.pb": "", "empty/readme": ""})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompileError) as caught:
        compile_protos([Path(path) for path in paths], includes=[Path(path) for path in includes])
    assert str(caught.value) == text.format(here=Path.cwd())


def test_the_command_says_what_it_wrote(project: Callable[..., Path], toolkit: RunToolkit) -> None:
    """toolkit compile writes service.pb, lists the services in it, and says what to do next."""
    here = project("users.proto", "types.proto", "types.proto")
    done = toolkit("compile", "users.proto", cwd=here)
    assert done.returncode == 0, done.stderr
    data = (here / "service.pb").read_bytes()
    count = len(FileDescriptorSet.FromString(data).file)
    assert done.stdout == (
        f"wrote service.pb: {count} files, {len(data):,} bytes\n"
        "  users.proto: service shop.Users\n"
        "next: toolkit check service.pb\n"
    )
    assert done.stderr == ""
    assert [service.full_name for service in read_manifest(data).served] == ["shop.Users"]


def test_the_command_writes_to_standard_output(project: Callable[..., Path]) -> None:
    """With -o - the set goes to standard output, and nothing else does."""
    here = project("users.proto", "types.proto", "types.proto")
    done = subprocess.run(
        [str(BIN / "toolkit"), "compile", "users.proto", "-o", "-"], cwd=here, capture_output=True, check=True
    )
    assert read_manifest(done.stdout).plugins[0].prefix == "db"
    assert not (here / "service.pb").exists()


def test_the_command_shows_warnings_and_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What protoc warns of is shown, and the set is written; without a service it says so."""
    write_files(tmp_path, {"a.proto": 'syntax = "proto3";\nimport "b.proto";\n', "b.proto": 'syntax = "proto3";\n'})
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(compile_command, ["a.proto", "-o", "out.pb"])
    assert result.exit_code == 0
    assert result.stderr == "a.proto:2:1: warning: Import b.proto is unused.\n"
    size = (tmp_path / "out.pb").stat().st_size
    assert result.stdout == (
        f"wrote out.pb: 2 files, {size} bytes\n  no service among them\nnext: toolkit check out.pb\n"
    )


def test_the_command_fails_with_the_code_of_a_wrong_manifest(tmp_path: Path, toolkit: RunToolkit) -> None:
    """A .proto that does not compile ends with 78, an output that cannot be written with 2."""
    write_files(tmp_path, {"a.proto": 'syntax = "proto3"; message', "b.proto": 'syntax = "proto3";'})
    done = toolkit("compile", "a.proto")
    assert done.returncode == 78
    assert "a.proto does not compile\na.proto:1:27: Expected message name." in done.stderr
    done = toolkit("compile", "b.proto", "-o", "missing/out.pb")
    assert done.returncode == 2
    assert "missing/out.pb" in done.stderr
    assert "No such file or directory" in done.stderr


def test_help_teaches_by_example(toolkit: RunToolkit) -> None:
    """The help has commands to copy, those of other compilers included."""
    text = toolkit("compile", "--help").stdout
    for line in ("toolkit compile users.proto", "-o build/shop.pb", '-I"$(toolkit schemas)"', "buf build -o"):
        assert line in text


def test_schemas_prints_the_folder_of_the_annotations(toolkit: RunToolkit) -> None:
    """The folder has both paths under which the annotations are imported; --all adds those of Google's protos."""
    folder = Path(toolkit("schemas").stdout.strip())
    assert folder == schemas_path()
    assert (folder / "toolkit/annotations.proto").is_file()
    upstream = folder / "github.com/lastbackend/toolkit/protoc-gen-toolkit/toolkit/options/annotations.proto"
    assert 'import public "toolkit/annotations.proto";' in upstream.read_text(encoding="utf-8")
    assert [Path(line) for line in toolkit("schemas", "--all").stdout.splitlines()] == list(include_paths())


def test_an_installed_wheel_has_its_schemas_inside(tmp_path: Path) -> None:
    """Where the schemas were put into the package, they are found there."""
    package = tmp_path / "toolkit"
    (package / "cli").mkdir(parents=True)
    write_files(package, {"__init__.py": "", "cli/__init__.py": ""})
    shutil.copytree(schemas_path(), package / "schemas")
    source = Path(compile_protos.__code__.co_filename)
    shutil.copy(source, package / "cli/compile.py")
    shutil.copy(source.parent.parent / "errors.py", package)
    script = "import toolkit.cli.compile as c; print(c.schemas_path()); print(c.include_paths()[0])"
    # The path is put first here: PYTHONPATH would not outrank an editable install in every environment.
    done = subprocess.run(
        [str(BIN / "python"), "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(package / "schemas")] * 2


def test_stock_protoc_compiles_against_the_printed_folder(tmp_path: Path, toolkit: RunToolkit) -> None:
    """protoc's own command line with the folder that toolkit schemas prints makes a set that is read."""
    folder = toolkit("schemas").stdout.strip()
    shutil.copy(PROTOS / "shop/legacy.proto", tmp_path)
    command = [str(BIN / "python"), "-m", "grpc_tools.protoc", "--include_imports", "-I.", f"-I{folder}"]
    subprocess.run([*command, "--descriptor_set_out=service.pb", "legacy.proto"], cwd=tmp_path, check=True)
    assert read_manifest((tmp_path / "service.pb").read_bytes()).plugins[0].prefix == "archive"
