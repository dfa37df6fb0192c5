"""What injection adds to a call, in microseconds of CPU, beside the same call without it.

Both sides of a row run in one process, in turn, round for round; a row's figures are the
medians of the rounds, and the interval is that of the median difference. The views do as
good as nothing, so that what is measured is what is around them. A commit or close that
waits is shielded from cancellation and bounded in time, which costs a turn of the event
loop each way; so it does by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import uvloop

from benchmarks.grpc import median_interval
from toolkit import Service
from toolkit.cli.compile import compile_protos
from toolkit.manifest import Manifest, MethodDeclaration, read_manifest
from toolkit.plugins import PerCall, Plugin
from toolkit.runtime.call import Context, MetadataPairs
from toolkit.runtime.dispatch import Codec, Dispatcher
from toolkit.runtime.handlers import load_handlers
from toolkit.runtime.plan import bind
from toolkit.runtime.registry import Instance, PluginState, Registry

#: Microseconds that three injected singletons, and two call-scoped views, may add to a call.
SINGLETONS_TARGET = 0.5
VIEWS_TARGET = 3.0

PROTO = """
syntax = "proto3";
package bench;
import "toolkit/annotations.proto";
option (toolkit.plugins) = {prefix: "one" plugin: "bench"};
option (toolkit.plugins) = {prefix: "two" plugin: "bench"};
option (toolkit.plugins) = {prefix: "three" plugin: "bench"};
message Text { string text = 1; }
service Bench {
  rpc Bare(Text) returns (Text);
  rpc Singletons(Text) returns (Text);
  rpc Views(Text) returns (Text);
  rpc ByHand(Text) returns (Text);
  rpc WaitingViews(Text) returns (Text);
  rpc WaitingByHand(Text) returns (Text);
  rpc ShieldedByHand(Text) returns (Text);
}
"""


class Resource:
    """What the plugin opens."""


class View:
    """A view of one call."""

    __slots__ = ("resource",)

    def __init__(self, resource: Resource) -> None:
        self.resource = resource


class WaitingView(View):
    """One whose commit and close let the event loop take a turn, as one that talks to a server does."""

    __slots__ = ()


async def commit(_view: View) -> None:
    return None


async def close(_view: View) -> None:
    return None


class Turn:
    """Awaited, lets the event loop take a turn."""

    def __await__(self) -> Any:
        yield


async def commit_waiting(_view: View) -> None:
    await Turn()


async def close_waiting(_view: View) -> None:
    await Turn()


@attrs.frozen
class NoSettings:
    """The plugin reads nothing."""


@asynccontextmanager
async def open_resource(_config: NoSettings, _host: Any) -> AsyncIterator[Resource]:
    yield Resource()


PLUGIN: Plugin[NoSettings, Resource] = Plugin(
    name="bench",
    config=NoSettings,
    open=open_resource,
    check=commit,  # type: ignore[arg-type]  # it is never called
    provides={
        Resource: lambda resource: resource,
        View: PerCall(open=View, commit=commit, close=close),
        WaitingView: PerCall(open=WaitingView, commit=commit_waiting, close=close_waiting),
    },
)

#: What the handlers written by hand use.
RESOURCE = Resource()

bench = Service("bench.Bench")


@bench.rpc
async def bare(request: Any, context: Context) -> Any:
    return request


@bench.rpc
async def singletons(request: Any, context: Context, *, one: Resource, two: Resource, three: Resource) -> Any:
    return request


@bench.rpc
async def views(request: Any, context: Context, *, one: View, two: View) -> Any:
    return request


@bench.rpc
async def by_hand(request: Any, context: Context) -> Any:
    first, second = View(RESOURCE), View(RESOURCE)
    try:
        await commit(first)
        await commit(second)
        return request
    finally:
        await close(second)
        await close(first)


@bench.rpc
async def waiting_views(request: Any, context: Context, *, one: WaitingView, two: WaitingView) -> Any:
    return request


@bench.rpc
async def waiting_by_hand(request: Any, context: Context) -> Any:
    first, second = WaitingView(RESOURCE), WaitingView(RESOURCE)
    try:
        await commit_waiting(first)
        await commit_waiting(second)
        return request
    finally:
        await close_waiting(second)
        await close_waiting(first)


async def finish(first: View, second: View) -> None:
    try:
        await commit_waiting(first)
        await commit_waiting(second)
    finally:
        await close_waiting(second)
        await close_waiting(first)


@bench.rpc
async def shielded_by_hand(request: Any, context: Context) -> Any:
    first, second = WaitingView(RESOURCE), WaitingView(RESOURCE)
    async with asyncio.timeout(10):
        await asyncio.shield(finish(first, second))
    return request


class Call(Context):
    """A call without a server."""

    __slots__ = ()

    def _read_metadata(self) -> MetadataPairs:
        return ()

    def time_remaining(self) -> float | None:
        return None

    @property
    def peer(self) -> str:
        return ""

    async def send_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        return None


Serve = Callable[[Context], Awaitable[Any]]


async def measure(serve: Serve, method: MethodDeclaration, payload: bytes, calls: int) -> float:
    """Microseconds of CPU per call."""
    began = time.process_time()
    for _ in range(calls):
        await serve(Call(method, payload))
    return (time.process_time() - began) / calls * 1e6


@attrs.frozen(kw_only=True)
class Row:
    """Two ways of doing the same."""

    title: str
    ours: Serve
    plain: Serve
    target: float | None = None


async def measure_row(row: Row, method: MethodDeclaration, payload: bytes, rounds: int, calls: int) -> bool:
    """Print one line of the table; whether the target was met."""
    pairs = []
    for number in range(rounds + 1):
        sides = [row.ours, row.plain] if number % 2 else [row.plain, row.ours]
        taken = {side: await measure(side, method, payload, calls) for side in sides}
        if number:  # the first round warms up
            pairs.append((taken[row.ours], taken[row.plain]))
    added = [ours - plain for ours, plain in pairs]
    ours, plain, difference = (statistics.median(column) for column in (*zip(*pairs, strict=True), added))
    low, high = median_interval(added)
    target = f"at most {row.target:g}" if row.target is not None else ""
    print(
        f"{row.title:<44} {ours:>7.2f} {plain:>8.2f} {ours / plain:>6.2f} {difference:>7.2f}  {low:.2f} … {high:.2f}"
        f"   {target}"
    )
    return row.target is None or difference <= row.target


def list_rows(dispatcher: Dispatcher) -> list[Row]:
    """What is compared with what."""
    endpoint = dispatcher.endpoints["/bench.Bench/Bare"]
    reply_class: Any = endpoint.reply_class
    decode, encode = endpoint.request_class.FromString, reply_class.SerializeToString

    def serve(name: str) -> Serve:
        served: Serve = dispatcher.endpoints[f"/bench.Bench/{name}"].serve(Codec(decode=decode, encode=encode))
        return served

    async def decode_and_encode(context: Context) -> bytes:
        received: Any = context.request
        request = context.request = decode(received)
        payload: bytes = encode(await bare(request, context))
        return payload

    return [
        Row(
            title="three singletons, beside none",
            ours=serve("Singletons"),
            plain=serve("Bare"),
            target=SINGLETONS_TARGET,
        ),
        Row(
            title="two call-scoped views, beside by hand",
            ours=serve("Views"),
            plain=serve("ByHand"),
            target=VIEWS_TARGET,
        ),
        Row(
            title="… whose commit and close each wait once",
            ours=serve("WaitingViews"),
            plain=serve("WaitingByHand"),
        ),
        Row(
            title="… beside by hand with shield and timeout",
            ours=serve("WaitingViews"),
            plain=serve("ShieldedByHand"),
        ),
        Row(
            title="dispatch, beside decode, handle, encode",
            ours=serve("Bare"),
            plain=decode_and_encode,
        ),
    ]


def open_registry(manifest: Manifest) -> Registry:
    """Every declared plugin, opened."""
    instances = {}
    for declaration in manifest.plugins:
        instance = Instance(declaration.prefix, PLUGIN, config=NoSettings(), critical=True, resource=Resource())
        instance.state = PluginState.READY
        instances[declaration.prefix] = instance
    return Registry(instances)


async def run(manifest: Manifest, rounds: int, calls: int) -> bool:
    """Print the table; whether all targets were met."""
    handlers = ModuleType("bench_handlers")
    vars(handlers)["bench"] = bench
    plugins = {declaration.prefix: PLUGIN for declaration in manifest.plugins}
    plan = bind(load_handlers([handlers]), manifest, plugins)
    if plan.problems:
        raise RuntimeError("\n".join(map(str, plan.problems)))
    method = next(manifest.methods())
    message: Any = manifest.message("bench.Text")
    payload = message(text="hello").SerializeToString()
    async with plan.connect(open_registry(manifest), app=None, settings={}) as dispatcher:
        print(f"{rounds} interleaved rounds of {calls} calls; medians, in µs of CPU per call")
        print(f"{'':<44} {'toolkit':>7} {'beside':>8} {'ratio':>6} {'adds':>7}  95 % interval   target")
        return all([await measure_row(row, method, payload, rounds, calls) for row in list_rows(dispatcher)])


def main() -> int:
    """Measure; the exit code is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="What injection adds to a call.")
    parser.add_argument("--rounds", type=int, default=30, help="at least 10")
    parser.add_argument("--calls", type=int, default=5000, help="of each side, in each round")
    options = parser.parse_args()
    if options.rounds < 10:
        parser.error("fewer than 10 rounds say nothing")
    with tempfile.TemporaryDirectory() as folder:
        proto = Path(folder, "bench.proto")
        proto.write_text(PROTO, encoding="utf-8")
        manifest = read_manifest(compile_protos([proto]))
    return int(not uvloop.run(run(manifest, options.rounds, options.calls)))


if __name__ == "__main__":
    raise SystemExit(main())
