"""``[tool.toolkit]`` of the nearest ``pyproject.toml``: descriptors, handlers and prefix, written once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs
import click

__all__ = ["Project", "find_project"]

_KNOWN = ("descriptor", "descriptors", "handlers", "env_prefix", "env_file")


@attrs.frozen(kw_only=True)
class Project:
    """What the project's file says; paths are absolute."""

    root: Path
    descriptors: tuple[Path, ...] = ()
    handlers: tuple[str, ...] = ()
    env_prefix: str | None = None
    env_files: tuple[Path, ...] = ()


def find_project(start: Path) -> Project:
    """The project that ``start`` is in: the nearest folder upwards whose pyproject.toml has ``[tool.toolkit]``.

    Raises:
        click.UsageError: the table holds something unknown or of a wrong type.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("toolkit")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{path}: not valid TOML: {error}") from error
        if table is not None:
            return _read_table(path, table)
    return Project(root=start)


def _read_table(path: Path, table: dict[str, Any]) -> Project:
    unknown = [key for key in table if key not in _KNOWN]
    if unknown:
        raise click.UsageError(f"{path}: [tool.toolkit] has no {unknown[0]!r}; it knows {', '.join(_KNOWN)}")
    root = path.parent
    prefix = table.get("env_prefix")
    if prefix is not None and not isinstance(prefix, str):
        raise click.UsageError(f"{path}: [tool.toolkit] env_prefix is not a string")
    return Project(
        root=root,
        descriptors=tuple(root / item for key in ("descriptor", "descriptors") for item in _strings(path, table, key)),
        handlers=tuple(_strings(path, table, "handlers")),
        env_prefix=prefix,
        env_files=tuple(root / item for item in _strings(path, table, "env_file")),
    )


def _strings(path: Path, table: dict[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise click.UsageError(f"{path}: [tool.toolkit] {key} is neither a string nor a list of strings")
    return items
