"""The options that run, check, env and describe share, and the service that they lead to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from toolkit.cli.project import Project, find_project
from toolkit.errors import ManifestError, Problem
from toolkit.manifest import Manifest, read_manifest
from toolkit.runtime.config import EnvFile, parse_env_file
from toolkit.runtime.setup import Setup, prepare

__all__ = ["Inputs", "service_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("descriptors", nargs=-1, metavar="[DESCRIPTOR]...", type=click.Path(path_type=Path)),
    click.option(
        "--descriptor",
        "more_descriptors",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A compiled FileDescriptorSet; the same as an argument. Repeatable.",
    ),
    click.option(
        "--handlers",
        multiple=True,
        metavar="MODULE",
        help="A Python module with handlers, e.g. shop.users. Repeatable.",
    ),
    click.option(
        "--service",
        "services",
        multiple=True,
        metavar="NAME",
        help="Serve this service (shop.v1.UserService) instead of those that the manifest marks. Repeatable.",
    ),
    click.option(
        "--env-prefix",
        metavar="PREFIX",
        help="The first part of every environment variable; may be empty.",
    ),
    click.option(
        "--env-file",
        "env_files",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Read variables from FILE, below the environment. Repeatable; the last one wins.",
    ),
    click.option("--strict-env", is_flag=True, help="Refuse unknown variables under a declared plugin's prefix."),
    click.option(
        "--allow-unimplemented", is_flag=True, help="Serve methods without a handler; they answer UNIMPLEMENTED."
    ),
    click.option(
        "--app-dir",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Where handler modules are imported from, before everything else [default: the project's folder].",
    ),
)


def service_options(command: Decorated) -> Decorated:
    """Add the shared options to a click command; their values make an :class:`Inputs`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@attrs.frozen(kw_only=True)
class Inputs:
    """What the command line, the project's file and the process environment say together."""

    descriptors: tuple[Path, ...]
    more_descriptors: tuple[Path, ...]
    handlers: tuple[str, ...]
    services: tuple[str, ...]
    env_prefix: str | None
    env_files: tuple[Path, ...]
    strict_env: bool
    allow_unimplemented: bool
    app_dir: Path | None
    project: Project = attrs.field(factory=lambda: find_project(Path.cwd()))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The descriptor sets, as given or as the project's file names them.

        Raises:
            click.UsageError: neither names any.
        """
        paths = (*self.descriptors, *self.more_descriptors) or self.project.descriptors
        if not paths:
            raise click.UsageError(
                "no descriptor set is named; give one (toolkit compile service.proto -o service.pb makes it),\n"
                'or write descriptor = "service.pb" under [tool.toolkit] in pyproject.toml'
            )
        return paths

    def read(self, *, compile_protos: bool = False) -> Manifest:
        """Read the manifest; with ``compile_protos`` a ``.proto`` may stand in a descriptor set's place.

        Raises:
            ManifestError: a file cannot be read, or is no manifest.
        """
        protos = [path for path in self.paths if path.suffix == ".proto" or path.is_dir()] if compile_protos else []
        compiled = [path for path in self.paths if path not in protos]
        sets = [_read_file(path) for path in compiled]
        names = [str(path) for path in compiled]
        if protos:
            from toolkit.cli.compile import compile_protos as compile_set  # imports protoc

            sets.append(compile_set(protos))
            names.append(" ".join(map(str, protos)))
        return read_manifest(*sets, services=self.services, names=names)

    def prepare(
        self,
        manifest: Manifest,
        *,
        runtime_defaults: Mapping[str, str] | None = None,
        dev_settings: Mapping[str, Mapping[str, str]] | None = None,
        require_handlers: bool = True,
    ) -> Setup:
        """Check the service against this process's environment, with ``dev_settings`` (by prefix) below it."""
        folder = str(self.app_dir if self.app_dir is not None else self.project.root)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        files = self.env_files or self.project.env_files
        return prepare(
            manifest,
            handlers=self.handlers or self.project.handlers,
            environ=os.environ,
            env_files=[_read_env_file(path) for path in files],
            env_prefix=self.env_prefix,
            project_env_prefix=self.project.env_prefix,
            runtime_defaults=runtime_defaults,
            dev_settings=dev_settings,
            strict_env=self.strict_env,
            allow_unimplemented=self.allow_unimplemented,
            require_handlers=require_handlers,
        )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(
            [
                Problem(
                    code="manifest.unreadable_file",
                    where=str(path),
                    what=f"the descriptor set cannot be read: {error.strerror}",
                    fix="make it with: toolkit compile service.proto -o service.pb",
                )
            ]
        ) from error


def _read_env_file(path: Path) -> EnvFile:
    try:
        return parse_env_file(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"--env-file {path}: cannot be read: {reason}") from error
