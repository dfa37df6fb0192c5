"""``toolkit compile`` and ``toolkit schemas``: from ``.proto`` files to one descriptor set."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from toolkit.errors import ExitCode, ToolkitError

__all__ = ["CompileError", "compile_command", "compile_protos", "include_paths", "schemas_command", "schemas_path"]

#: String literals and comments, so that an import inside either is not taken for one, then imports.
_IMPORT = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r'|\bimport\s+(?:(?:public|weak|option)\s+)?(?:"(?P<double>[^"\n]*)"|\'(?P<single>[^\'\n]*)\')\s*;'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
    re.DOTALL,
)

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})


class CompileError(ToolkitError):
    """The ``.proto`` files do not compile; the text has protoc's own errors as they are."""

    exit_code = ExitCode.CONFIG

    def __init__(self, what: str, output: str = "", hint: str = "") -> None:
        #: What protoc wrote, unchanged.
        self.output = output
        super().__init__("\n".join(part for part in (what, output, hint) if part))


def schemas_path() -> Path:
    """The folder from which ``toolkit/annotations.proto`` is imported."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "schemas"
    # A checkout keeps the folder beside the package, a wheel has it inside.
    return shipped if shipped.is_dir() else package.parent / "schemas"


def include_paths() -> tuple[Path, ...]:
    """The folders that every compilation searches last: toolkit's, google/protobuf's and google/api's."""
    return (
        schemas_path(),
        _find_folder("grpc_tools", "_proto", holds="google/protobuf/descriptor.proto"),
        _find_folder("google.api", "../..", holds="google/api/annotations.proto"),
    )


def _find_folder(package: str, inside: str, *, holds: str) -> Path:
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(os.path.normpath(Path(location) / inside))
        if (folder / holds).is_file():
            return folder
    raise CompileError(f"{holds} is missing from the installed package {package}; install it again")


def compile_protos(
    paths: Sequence[Path], *, includes: Sequence[Path] = (), warn: Callable[[str], None] | None = None
) -> bytes:
    """Compile files, and all ``.proto`` files below folders, to one FileDescriptorSet.

    Imports and source info are included. Imports are searched in ``includes``, then in the
    root of the files, then where toolkit's own and Google's are. The root is the current
    folder if it holds the files and their imports are found from there; else the folder
    that was given, the files' own folder, or the nearest one above from which they are.
    ``warn`` gets what protoc has to say of files that do compile.

    Raises:
        CompileError: with protoc's own errors.
    """
    files = _list_files(paths)
    folders = [Path(os.path.abspath(path)) for path in paths if path.is_dir()]
    given = [Path(os.path.abspath(path)) for path in includes]
    for folder in given:
        if not folder.is_dir():
            raise CompileError(f"-I {folder}: there is no such folder")
    own = [*given, *_choose_roots(files, folders, given)]
    roots = [*own, *include_paths()]
    # protoc compares names as text: they are all relative, which reads better, or none is.
    # It would take some relative ones for an option or for a file of arguments.
    here = Path.cwd()
    plain = all(root.is_relative_to(here) for root in own) and not any(_shown(file)[0] in "-@" for file in files)
    name = _shown if plain else str
    with tempfile.TemporaryDirectory(prefix="toolkit-") as scratch:
        target, arguments = Path(scratch, "set.pb"), Path(scratch, "arguments")
        lines = ["--include_imports", "--include_source_info", f"--descriptor_set_out={target}"]
        lines += [*(f"-I{name(root)}" for root in roots), *map(name, files)]
        # A file of arguments has no limit of length.
        arguments.write_text("\n".join(lines) + "\n", encoding="utf-8")
        failed, output = _run_protoc(f"@{arguments}")
        if failed:
            raise CompileError(_count(files, "does not compile", "do not compile"), output, _hint(output, roots))
        if output and warn is not None:
            warn(output)
        return target.read_bytes()


def _run_protoc(*arguments: str) -> tuple[bool, str]:
    """Whether protoc failed, and what it wrote."""
    # A process of its own: protoc writes to file descriptor 2, and it keeps what it has read.
    # -P: the current folder may have a `google` or `grpc_tools` of its own.
    done = subprocess.run(  # noqa: S603 -- the arguments are a list and the program is Python
        [sys.executable, "-P", "-m", "grpc_tools.protoc", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    output = "\n".join(part.decode(errors="replace").rstrip() for part in (done.stdout, done.stderr) if part)
    return done.returncode != 0, output


def _count(files: Sequence[Path], one: str, many: str) -> str:
    return f"{_shown(files[0])} {one}" if len(files) == 1 else f"{len(files)} files {many}"


def _shown(path: Path) -> str:
    """The path as people write it from here, and as protoc's errors then have it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _hint(output: str, roots: Iterable[Path]) -> str:
    if "File not found" not in output:
        return ""
    searched = "\n".join(f"    {_shown(root)}" for root in roots)
    return f"  → imports were searched in these folders; -I PATH adds one:\n{searched}"


def _list_files(paths: Sequence[Path]) -> list[Path]:
    """All files, absolute and each once."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(_find_protos(path))
            if not found:
                raise CompileError(f"{path}: there is no .proto in this folder")
            files.update((Path(os.path.abspath(each)), None) for each in found)
        elif not path.exists():
            raise CompileError(f"{path}: there is no such file")
        elif path.suffix != ".proto":
            raise CompileError(f"{path}: this is no .proto; name .proto files, or folders that hold them")
        else:
            files[Path(os.path.abspath(path))] = None
    if not files:
        raise CompileError("no .proto was named")
    return list(files)


def _find_protos(folder: Path) -> Iterable[Path]:
    for here, folders, names in os.walk(folder):
        # Other people's protos, which come with packages, are not what the folder was named for.
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED_FOLDERS and not Path(here, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(here, name) for name in names if name.endswith(".proto"))


def _choose_roots(files: Sequence[Path], folders: Sequence[Path], given: Sequence[Path]) -> list[Path]:
    """The folder, or folders, from which the files have their names; none when -I covers them all."""
    files = [file for file in files if not any(file.is_relative_to(folder) for folder in given)]
    if not files:
        return []
    here = Path.cwd()
    common = Path(os.path.commonpath([file.parent for file in files]))
    candidates = dict.fromkeys([here, *folders, common, *common.parents])
    search = [*given, *include_paths()]
    for root in candidates:
        if common.is_relative_to(root) and _finds_imports(files, root, search):
            return [root]
    # protoc will say what is missing.
    return list(dict.fromkeys(here if file.is_relative_to(here) else file.parent for file in files))


def _finds_imports(files: Iterable[Path], root: Path, search: Sequence[Path]) -> bool:
    """Whether all that the files import, directly or not, is found from ``root`` or in ``search``."""
    pending = list(files)
    seen = set(pending)
    while pending:
        for name in _read_imports(pending.pop()):
            file = root / name
            if file.is_file():
                if file not in seen:
                    seen.add(file)
                    pending.append(file)
            elif not any((folder / name).is_file() for folder in search):
                return False
    return True


def _read_imports(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # protoc reports it.
        return []
    matches = _IMPORT.finditer(text)
    return [name for match in matches if (name := match["double"] or match["single"])]


@click.command("compile", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", nargs=-1, required=True, metavar="PROTO|DIR...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    default="service.pb",
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the descriptor set is written; - is standard output.",
)
@click.option(
    "-I",
    "--include",
    "includes",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A folder in which imports are searched first. Repeatable.",
)
def compile_command(paths: tuple[Path, ...], output: Path, includes: tuple[Path, ...]) -> None:
    """Compile .proto files, and everything that they import, to one descriptor set.

    Of a folder, all .proto files below it are compiled. toolkit/annotations.proto,
    google/protobuf/*.proto and google/api/*.proto are found without -I; other imports from
    the current folder, or else from the folder of the files or one above it.

    \b
    Examples:
      toolkit compile users.proto                      writes service.pb
      toolkit compile api/ -o build/shop.pb            all of a folder
      toolkit compile shop/v1/users.proto -I protos    imports from protos/, too
      toolkit compile users.proto -o - | toolkit describe /dev/stdin

    Sets made by other compilers work as well:

    \b
      protoc --include_imports --include_source_info -I. -I"$(toolkit schemas)" \\
        --descriptor_set_out=service.pb users.proto
      buf build -o service.binpb
    """
    data = compile_protos(paths, includes=includes, warn=lambda text: click.echo(text, err=True))
    if str(output) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror or "cannot be written") from error
    click.echo(_describe(data, output))


def _describe(data: bytes, output: Path) -> str:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = FileDescriptorSet.FromString(data).file
    lines = [f"wrote {output}: {len(files)} files, {len(data):,} bytes"]
    for file in files:
        package = f"{file.package}." if file.package else ""
        lines.extend(f"  {file.name}: service {package}{service.name}" for service in file.service)
    if len(lines) == 1:
        lines.append("  no service among them")
    return "\n".join([*lines, f"next: toolkit check {output}"])


@click.command("schemas", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--all", "show_all", is_flag=True, help="The folders of Google's protos as well, one on each line.")
def schemas_command(*, show_all: bool) -> None:
    """Print the folder from which other compilers import toolkit/annotations.proto.

    \b
    Examples:
      protoc --include_imports -I. -I"$(toolkit schemas)" --descriptor_set_out=service.pb users.proto
      cp -r "$(toolkit schemas)"/* vendor/    for buf: add vendor/ to the modules in buf.yaml
    """
    for path in include_paths() if show_all else (schemas_path(),):
        click.echo(path)
