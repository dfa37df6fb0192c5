"""``toolkit`` and ``toolkit-run``: commands are imported when they are asked for."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from toolkit.cli.report import show_error
from toolkit.errors import ExitCode, ToolkitError

__all__ = ["main", "run_main"]

#: Command name to where it is defined; the order is that of ``toolkit --help``.
_COMMANDS = {
    "run": "toolkit.cli.run:run_command",
    "check": "toolkit.cli.check:check_command",
    "env": "toolkit.cli.env:env_command",
    "describe": "toolkit.cli.describe:describe_command",
    "compile": "toolkit.cli.compile:compile_command",
    "call": "toolkit.cli.call:call_command",
    "schemas": "toolkit.cli.compile:schemas_command",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            from toolkit.manifest.names import nearest  # imports protobuf

            meant = nearest(name, _COMMANDS)
            hint = f"did you mean {meant!r}?" if meant else f"commands: {', '.join(_COMMANDS)}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A first service: write greeter.proto and its handlers, then `toolkit run --dev greeter.proto`.",
)
@click.version_option(package_name="toolkit-runtime", prog_name="toolkit")
def _toolkit() -> None:
    """A service from its manifest: declare it in a .proto, compile it, run it; no code is generated."""


def main(args: list[str] | None = None) -> None:
    """Run ``toolkit``."""
    _run(lambda: _toolkit.main(args, prog_name="toolkit", standalone_mode=False))


def run_main(args: list[str] | None = None) -> None:
    """Run ``toolkit-run``, which is ``toolkit run``."""
    from toolkit.cli.run import run_command

    _run(lambda: run_command.main(args, prog_name="toolkit-run", standalone_mode=False))


def _run(command: Callable[[], Any]) -> None:
    # Importing allocates much and frees little: collecting meanwhile costs a tenth of the start.
    gc.disable()
    try:
        code = command()
    except ToolkitError as error:
        show_error(error)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except click.Abort:
        code = 130
    except Exception:  # noqa: BLE001 -- the process's outermost frame: everything becomes an exit code
        traceback.print_exc()
        click.secho("toolkit: this is a defect of toolkit itself; please report it with the lines above", err=True)
        code = ExitCode.INTERNAL
    finally:
        gc.enable()
    sys.exit(code if isinstance(code, int) else 0)
