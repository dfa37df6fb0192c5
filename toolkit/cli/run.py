"""``toolkit run`` and ``toolkit-run``: start a service and serve it until a signal."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import click
import structlog

from toolkit.cli.inputs import Inputs, service_options
from toolkit.errors import ExitCode
from toolkit.runtime.app import App
from toolkit.runtime.events import DEV_SERVER_STARTED
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
    # The engine's own notes on stderr are for its developers; what matters is logged here.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    inputs = Inputs(**options)
    manifest = inputs.read(compile_protos=dev)
    setup = inputs.prepare(manifest, runtime_defaults=_DEV_DEFAULTS if dev else None)
    runtime = setup.config.runtime
    configure_logging(level=runtime.log_level, format=runtime.log_format)
    setup.raise_problems()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(inputs, setup, dev=dev))
    except KeyboardInterrupt:
        return 130
    return ExitCode.OK


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    return uvloop.new_event_loop


#: A service under development is nobody else's to call, and its stop need not wait for balancers.
_DEV_DEFAULTS = {"GRPC_SERVER_LISTEN": "127.0.0.1", "SHUTDOWN_DRAIN_DELAY": "0"}


async def _serve(inputs: Inputs, setup: Setup, *, dev: bool) -> None:
    stop = asyncio.Event()
    _catch_signals(stop)
    if not dev:
        await App(setup).serve(stop, on_started=_settle)
        return
    async with _dev_servers(setup) as dev_settings:
        if not stop.is_set():
            ready = inputs.prepare(setup.manifest, runtime_defaults=_DEV_DEFAULTS, dev_settings=dev_settings)
            await App(ready).serve(stop, on_started=lambda app: _settle_and_hint(app, inputs))


def _settle(_app: App) -> None:
    # What the start has built lives as long as the process: the collector need not look at it
    # again, which is worth 1-7 % of a small call (python -m benchmarks.grpc).
    gc.collect()
    gc.freeze()
    gc.enable()


def _settle_and_hint(app: App, inputs: Inputs) -> None:
    from toolkit.cli.hints import show_hints

    _settle(app)
    show_hints(app, sources=list(inputs.paths))


@asynccontextmanager
async def _dev_servers(setup: Setup) -> AsyncIterator[Mapping[str, Mapping[str, str]]]:
    """Real servers for the plugins without an address; yields, by prefix, the settings that lead to them."""
    needs = {
        prefix: plugin.dev
        for prefix, plugin in setup.plugins.items()
        if plugin.dev is not None and not setup.config.from_environment[prefix] & set(plugin.dev.addressed_by)
    }
    if not needs:
        yield {}
        return
    from toolkit.devservices import open_dev_servers

    log = structlog.get_logger()
    async with open_dev_servers(
        needs, on_started=lambda event: log.info(DEV_SERVER_STARTED, **attrs.asdict(event))
    ) as settings:
        yield settings


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
