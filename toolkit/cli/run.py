"""``toolkit run`` and ``toolkit-run``: start a service and serve it until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import click

from toolkit.cli.inputs import Inputs, service_options
from toolkit.errors import ExitCode
from toolkit.manifest import Manifest
from toolkit.runtime.app import App
from toolkit.runtime.log import configure_logging
from toolkit.runtime.setup import Setup

__all__ = ["run_command"]


@click.command("run", context_settings={"help_option_names": ["-h", "--help"]})
@service_options
@click.option(
    "--dev",
    is_flag=True,
    help="Start a real server for every plugin that has no address in the environment; takes a .proto as well.",
)
def run_command(dev: bool, **options: Any) -> int:
    """Start a service from its compiled manifest, and serve it until Ctrl-C or SIGTERM.

    \b
      toolkit-run --descriptor service.pb --handlers shop.users
      toolkit run --dev service.proto

    Settings come from environment variables: `toolkit env service.pb` lists them all.

    The first signal stops the service without losing a call; a second one ends it at
    once. Exit codes: 0 stopped, 2 usage, 69 a dependency or a port, 78 manifest,
    configuration or handlers.
    """
    inputs = Inputs(**options)
    manifest = inputs.read(compile_protos=dev)
    setup = _prepare(inputs, manifest, dev=dev)
    runtime = setup.config.runtime
    configure_logging(level=runtime.log_level, format=runtime.log_format)
    setup.raise_problems()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(inputs, manifest, setup, dev=dev))
    except KeyboardInterrupt:
        return 130
    return ExitCode.OK


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    return uvloop.new_event_loop


def _prepare(inputs: Inputs, manifest: Manifest, *, dev: bool, overlay: Mapping[str, str] | None = None) -> Setup:
    return inputs.prepare(manifest, overlay=overlay, runtime_defaults={"SHUTDOWN_DRAIN_DELAY": "0"} if dev else None)


async def _serve(inputs: Inputs, manifest: Manifest, setup: Setup, *, dev: bool) -> None:
    stop = asyncio.Event()
    _catch_signals(stop)
    if not dev:
        await App(setup).serve(stop)
        return
    async with _dev_servers(setup) as overlay:
        if not stop.is_set():
            ready = _prepare(inputs, manifest, dev=True, overlay=overlay)
            from toolkit.cli.hints import show_hints

            await App(ready).serve(stop, on_started=lambda app: show_hints(app, sources=list(inputs.paths)))


@asynccontextmanager
async def _dev_servers(setup: Setup) -> AsyncIterator[Mapping[str, str]]:
    """Real servers for the plugins without an address; yields the variables that lead to them."""
    needs = {
        prefix: plugin.dev
        for prefix, plugin in setup.plugins.items()
        if plugin.dev is not None and not setup.config.plugins[prefix].given & set(plugin.dev.addressed_by)
    }
    if not needs:
        yield {}
        return
    from toolkit.devservices import open_dev_servers

    async with open_dev_servers(needs) as settings:
        yield {
            setup.config.variable(f"{prefix.upper()}_{name}"): text
            for prefix, values in settings.items()
            for name, text in values.items()
        }


def _catch_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            # The second signal: whoever sends it wants the process gone, now.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
