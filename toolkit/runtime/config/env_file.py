"""Env files: ``NAME=value`` lines, read by python-dotenv, each with its line number."""

from __future__ import annotations

import io
import re
from typing import Final

import attrs

from toolkit.errors import Problem

__all__ = ["EnvFile", "EnvLine", "parse_env_file"]

_LINE_END: Final = re.compile(r"\r\n|\n|\r")


@attrs.frozen(kw_only=True)
class EnvLine:
    """One assignment of an env file."""

    name: str
    #: It may be a secret.
    text: str = attrs.field(repr=False)
    #: Where it begins, from 1.
    number: int


@attrs.frozen(kw_only=True)
class EnvFile:
    """What an env file assigns, one line for each name, and what of it could not be read."""

    name: str
    lines: tuple[EnvLine, ...]
    problems: tuple[Problem, ...] = ()


def parse_env_file(name: str, text: str) -> EnvFile:
    """Read the text of the env file called ``name``.

    The syntax is python-dotenv's: comments, ``export``, single quotes, double quotes
    with escapes, values over several lines. ``$`` means nothing: no variable is
    expanded, so that a password may hold any character. Of a name that is assigned
    twice the last line counts; a name without ``=`` is unset.
    """
    from dotenv.parser import parse_stream

    lines: dict[str, EnvLine] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins with the blank lines above it.
        source = binding.original.string
        blank = source[: len(source) - len(source.lstrip())]
        number = binding.original.line + len(_LINE_END.findall(blank))
        if binding.error:
            problems.append(_unreadable(name, number))
        elif binding.key is not None:
            lines[binding.key] = EnvLine(name=binding.key, text=binding.value or "", number=number)
    return EnvFile(name=name, lines=tuple(lines.values()), problems=tuple(problems))


def _unreadable(name: str, number: int) -> Problem:
    return Problem(
        code="config.env_file_syntax",
        what="expected NAME=value",
        where=f"{name}:{number}",
        why="the line is not shown, for it may hold a secret",
        fix="write NAME=value; put a value that holds quotes or spaces between single quotes",
    )
