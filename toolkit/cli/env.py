"""``toolkit env``: every legal variable as a table, as a ready ``.env.example``, or as JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import click

from toolkit.cli.inputs import Inputs, service_options
from toolkit.cli.report import show_problems, show_warnings
from toolkit.errors import ExitCode
from toolkit.runtime.config import Config, Variable

__all__ = ["EnvFormat", "env_command", "render_env"]

EnvFormat = Literal["table", "dotenv", "json"]

_HEADINGS: Final = ("variable", "type", "default", "required", "secret", "origin", "description")
#: What an unquoted value of an env file may be made of, for every reader of such files.
_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_.,:/@%+=|-]*")
_COMMENT_WIDTH: Final = 100
#: Narrower terminals cannot show seven columns, one of them with names of forty characters.
_WIDE: Final = 130


@click.command("env")
@service_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "dotenv", "json"]),
    default="table",
    show_default=True,
    help="A table, a ready .env.example, or JSON for machines.",
)
@click.option("--all", "show_all", is_flag=True, help="Also what every plugin has and what the runtime itself reads.")
def env_command(format_: EnvFormat, show_all: bool, **options: Any) -> int:
    """List every environment variable that a service reads; no secret's value is shown.

    \b
      toolkit env service.pb
      toolkit env service.pb --all --format dotenv > .env.example
    """
    inputs = Inputs(**options)
    setup = inputs.prepare(inputs.read(compile_protos=True), require_handlers=False)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(render_env(setup.config, format_, show_all=show_all, width=width), nl=False)
    show_warnings(setup.config.warnings)
    if setup.config.problems:
        show_problems(setup.config.problems, "the service would not start")
        return ExitCode.CONFIG
    return ExitCode.OK


def render_env(
    config: Config,
    format: EnvFormat = "table",  # noqa: A002 -- the option's own name
    *,
    show_all: bool = False,
    width: int | None = None,
) -> str:
    """The variables of ``config``; the value of a secret is in none of the formats.

    ``show_all`` adds what every plugin has and what the runtime itself reads. ``width``
    is that of the terminal that the table is drawn on by rich, in colour; without it, or
    without rich, the table is aligned plain text with a line for each variable.
    """
    shown = [variable for variable in config.variables if show_all or variable.kind in ("plugin", "app")]
    if format == "json":
        return _render_json(shown)
    if format == "dotenv":
        return _render_dotenv(shown)
    table = _draw_tables(shown, width) if width is not None else None
    if table is None:
        table = _align_table(shown)
    hidden = len(config.variables) - len(shown)
    return f"{table}\n{hidden} more with --all\n" if hidden else table


def _render_json(variables: Iterable[Variable]) -> str:
    documents = [
        {
            "variable": variable.name,
            "kind": variable.kind,
            "section": variable.section,
            "setting": variable.setting,
            "type": variable.type,
            # A mask is for people; a machine reads in `set` whether there is a value.
            "default": None if variable.secret else variable.default,
            "required": variable.required,
            "secret": variable.secret,
            "file_variable": variable.file_name or None,
            "set": variable.is_set,
            "origin": variable.origin,
            "value": None if variable.secret else variable.value,
            "description": variable.help,
        }
        for variable in variables
    ]
    return json.dumps(documents, indent=2) + "\n"


def _render_dotenv(variables: Iterable[Variable]) -> str:
    lines = ["# Every variable of the service. What has a comment sign before it may stay out: its default is shown."]
    for owner, group in groupby(variables, key=lambda variable: variable.owner):
        lines.extend(["", f"# --- {_one_line(owner)}"])
        for variable in group:
            lines.extend(["", *_comment(variable)])
            assignment = f"{variable.name}={_quote(variable.default)}"
            lines.append(assignment if variable.required else f"#{assignment}")
    return "\n".join(lines) + "\n"


def _comment(variable: Variable) -> list[str]:
    notes = [variable.type]
    if variable.required:
        notes.append("required")
    if variable.secret:
        notes.append(f"secret; {variable.file_name} names a file to read it from")
    text = f"{_one_line(variable.help)} ({', '.join(notes)})".strip()
    return textwrap.wrap(text, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _quote(text: str) -> str:
    if _UNQUOTED.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\")
    if "\n" in text or "\r" in text:
        # On one line, so that one comment sign hides it.
        escaped = escaped.replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
        return f'"{escaped}"'
    escaped = escaped.replace("'", "\\'")
    return f"'{escaped}'"


def _row(variable: Variable) -> tuple[str, ...]:
    return (
        variable.name,
        variable.type,
        _one_line(variable.default),
        "yes" if variable.required else "",
        "yes" if variable.secret else "",
        variable.origin,
        _one_line(variable.help),
    )


def _align_table(variables: Iterable[Variable]) -> str:
    rows = [tuple(heading.upper() for heading in _HEADINGS), *(_row(variable) for variable in variables)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _draw_tables(variables: Sequence[Variable], width: int) -> str | None:
    """A table for each declaration, drawn by rich; None where rich is not installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=True)
    wide = width >= _WIDE
    names = max((len(variable.name) for variable in variables), default=0)
    for owner, group in groupby(variables, key=lambda variable: variable.owner):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
        for heading in _HEADINGS if wide else ("variable", "description"):
            # A name that is cut cannot be copied: the other columns give way.
            fixed = {"variable": names, "required": 8, "secret": 6}.get(heading)
            ratio = 1 if heading == "description" else None
            table.add_column(heading, overflow="fold", width=fixed, ratio=ratio, no_wrap=heading == "variable")
        for variable in group:
            cells = _row(variable) if wide else (variable.name, _describe(variable))
            style = "bold yellow" if variable.required and not variable.is_set else ""
            table.add_row(*(Text(cell) for cell in cells), style=style)
        console.print(Text(owner, style="bold"))
        console.print(table)
    return page.getvalue()


def _describe(variable: Variable) -> str:
    """What the wide table has in columns, as a sentence."""
    parts = [variable.type]
    if variable.default:
        parts.append(f"default {_one_line(variable.default)}")
    parts.extend(note for note in ("required", "secret") if getattr(variable, note))
    if variable.is_set:
        parts.append(f"set: {variable.origin}")
    return "\n".join(line for line in (", ".join(parts), _one_line(variable.help)) if line)


def _one_line(text: str) -> str:
    joined = " ".join(text.split("\n"))
    return joined if joined.isprintable() else ascii(joined)[1:-1]
