"""Problems drawn for people, on stderr; coloured when that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import click

from toolkit.errors import CheckError, Problem, StartupError, ToolkitError

__all__ = ["problem_as_dict", "show_error", "show_problems", "show_warnings"]


def show_error(error: ToolkitError) -> None:
    """Draw any of toolkit's own errors as a report."""
    if isinstance(error, CheckError):
        show_problems(error.problems, "nothing was started")
    elif isinstance(error, StartupError):
        show_problems(error.problems, "the service did not start")
    else:
        click.secho(f"toolkit: {error}", err=True, fg="red")


def show_problems(problems: Iterable[Problem], outcome: str) -> None:
    """Draw problems under a line that counts them and says what came of it."""
    listed = tuple(problems)
    count = "1 problem" if len(listed) == 1 else f"{len(listed)} problems"
    click.echo(click.style("toolkit: ", bold=True) + click.style(f"{count}, {outcome}", fg="red"), err=True)
    for problem in listed:
        click.echo(err=True)
        _draw(problem, mark="✗", colour="red")


def show_warnings(warnings: Iterable[Problem]) -> None:
    """Draw warnings, each on its own."""
    for warning in warnings:
        _draw(warning, mark="!", colour="yellow")


def _draw(problem: Problem, *, mark: str, colour: str) -> None:
    lines = str(problem).splitlines()
    head = lines[0]
    if problem.where:
        head = click.style(problem.where, bold=True) + head[len(problem.where) :]
    click.echo(f"{click.style(mark, fg=colour)} {head}", err=True)
    for line in lines[1:]:
        click.echo(click.style(f"  {line}", fg="green") if line.startswith("  →") else f"  {line}", err=True)


def problem_as_dict(problem: Problem) -> dict[str, Any]:
    """The problem for machines; empty fields are left out."""
    return {key: value for key, value in attrs.asdict(problem).items() if value}
