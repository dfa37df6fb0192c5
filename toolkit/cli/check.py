"""``toolkit check``: everything up to connecting, with every problem in one report."""

from __future__ import annotations

import json
from typing import Any

import click

from toolkit.cli.inputs import Inputs, service_options
from toolkit.cli.report import problem_as_dict, show_problems, show_warnings
from toolkit.errors import ExitCode, ManifestError
from toolkit.runtime.setup import Setup

__all__ = ["check_command"]


@click.command("check")
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, for machines.")
def check_command(as_json: bool, **options: Any) -> int:
    """Check a service without starting it.

    Reads the manifest, the environment, the plugin types, and every handler's
    signature; connects nowhere. All problems come in one report. Exits with 0 when the
    service could start, with 78 when it could not.

    \b
      toolkit check service.pb
      toolkit check service.pb --env-file prod.env --strict-env --json
    """
    try:
        inputs = Inputs(**options)
        setup = inputs.prepare(inputs.read(compile_protos=True), require_handlers=False)
    except ManifestError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "problems": [problem_as_dict(item) for item in error.problems]}, indent=2))
        return ExitCode.CONFIG
    if as_json:
        click.echo(json.dumps(_as_dict(setup), indent=2))
    else:
        _show(setup)
    return ExitCode.CONFIG if setup.problems else ExitCode.OK


def _as_dict(setup: Setup) -> dict[str, Any]:
    return {
        "ok": not setup.problems,
        "problems": [problem_as_dict(item) for item in setup.problems],
        "warnings": [problem_as_dict(item) for item in setup.warnings],
        "not_served_yet": list(setup.not_served),
        "handlers_checked": bool(setup.handler_modules),
        "env_prefix": setup.env_prefix.value,
        "services": [service.full_name for service in setup.manifest.served],
        "plugins": {item.prefix: item.type for item in setup.manifest.plugins},
    }


def _show(setup: Setup) -> None:
    show_warnings(setup.warnings)
    for line in setup.not_served:
        click.echo(f"{click.style('·', fg='cyan')} not served yet: {line}", err=True)
    if not setup.handler_modules:
        click.echo(
            f"{click.style('·', fg='cyan')} no handlers were named, so none were checked (--handlers MODULE)", err=True
        )
    if setup.problems:
        show_problems(setup.problems, "the service would not start")
        return
    services = len(setup.manifest.served)
    methods = sum(1 for _ in setup.manifest.methods())
    plugins = len(setup.plugins)
    click.echo(
        f"{click.style('✓', fg='green')} {_count(services, 'service')}, {_count(methods, 'method')}, "
        f"{_count(plugins, 'plugin')}: ready to start"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
