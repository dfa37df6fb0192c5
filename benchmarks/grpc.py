"""What dispatch costs: CPU of the server per gRPC call, beside a server written by hand.

Both serve the same unary method, read the same metadata and deadline, and use the same
three objects: one on grpc.aio, uvloop and protoc's stubs, the other by `toolkit-run`,
whose handler is given its context and the three objects. Client processes call the one,
the other twice, and the one again, in every round, and check every reply; the kernel
says how much CPU time each server's process took meanwhile.

    python -m benchmarks.grpc [--rounds 16] [--calls 6000] [--clients 2]
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import grpc_tools  # type: ignore[import-untyped]  # it has no stubs
from grpc_tools import protoc

SUPPORT = Path(__file__).parent / "grpc_support"
#: Server CPU per call, toolkit's to the hand-written one's, that is promised.
TARGET = 1.05
#: Calls to each server before it is measured: the interpreter adapts itself to what it runs often.
WARM_UP = 1000


class Child:
    """A process that ends with this one."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, text=True, env={**os.environ, **(environ or {})}, **pipes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self, pattern: str) -> str:
        """The part in brackets of the first line that fits the pattern."""
        assert self.process.stdout is not None
        heard = []
        for line in self.process.stdout:
            heard.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise SystemExit(f"{self.process.args!r} ended early:\n{''.join(heard)}")

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that all of its threads have taken."""
        # The kernel's name for the process's CPU clock, as in clock_getcpuclockid(3): to the
        # nanosecond, while /proc counts in steps of 10 ms.
        return time.clock_gettime(~self.process.pid << 3 | 2)


def start_ours(descriptor_set: Path) -> Child:
    """The service as everybody starts one; its log says where it listens."""
    command = [str(Path(sys.executable).with_name("toolkit-run")), "--descriptor", str(descriptor_set)]
    settings = {"GRPC_SERVER_LISTEN": "127.0.0.1", "GRPC_SERVER_PORT": "0", "LOG_FORMAT": "json"}
    options = ["--handlers", "benchmarks.grpc_support.handlers", "--app-dir", str(SUPPORT.parents[1])]
    return Child(
        [*command, *options],
        {f"GREETER_{name}": value for name, value in {**settings, "SHUTDOWN_DRAIN_DELAY": "0"}.items()},
    )


def start_support(module: str, folder: Path) -> Child:
    """One of the support folder's programs."""
    return Child([sys.executable, "-m", f"benchmarks.grpc_support.{module}", str(folder)])


def compile_stubs(folder: Path) -> Path:
    """Write protoc's stubs and the descriptor set into ``folder``; returns the path of the set."""
    out = folder / "greeter.pb"
    include = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}", f"--descriptor_set_out={out}"]
    command = ["protoc", f"-I{SUPPORT}", f"-I{include}", "--include_imports", *outputs, "greeter.proto"]
    if protoc.main(command) != 0:
        raise SystemExit("protoc failed")
    return out


def measure(server: Child, port: str, clients: Sequence[Child], calls: int) -> float:
    """Microseconds of the server's CPU per call."""
    before = server.cpu
    for client in clients:
        client.tell(f"{port} {calls // len(clients)}")
    for client in clients:
        client.hear("^(done)$")
    return (server.cpu - before) / (calls // len(clients) * len(clients)) * 1e6


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the median that assumes nothing of the distribution: order statistics."""
    ordered, count = sorted(values), len(values)
    outside, rank = 0.0, 0
    while rank < count // 2:
        outside += 2 * math.comb(count, rank) / 2**count
        if outside > 1 - confidence:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]


def play_round(folder: Path, descriptor_set: Path, calls: int, client_count: int) -> tuple[float, float]:
    """Microseconds of server CPU per call: toolkit's, and the one written by hand.

    The processes are new, for each has its own luck with the layout of its memory; each
    server is measured first and last once, for the machine is not the same all the time.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(start_ours(descriptor_set))
        plain = stack.enter_context(start_support("plain_server", folder))
        clients = [stack.enter_context(start_support("client", folder)) for _ in range(client_count)]
        our_port = ours.hear(r'"grpc": "127\.0\.0\.1:(\d+)"')
        plain_port = plain.hear(r"^(\d+)$")
        order = [(ours, our_port), (plain, plain_port), (plain, plain_port), (ours, our_port)]
        for server, port in order[:2]:
            measure(server, port, clients, WARM_UP)
        first, second, third, fourth = (measure(server, port, clients, calls // 2) for server, port in order)
        return (first + fourth) / 2, (second + third) / 2


def run(rounds: int, calls: int, client_count: int) -> float:
    """Print the table; returns the median ratio."""
    print(f"{rounds} rounds of {calls} calls to each server from {client_count} clients, every reply checked")
    print(f"{'round':>5} {'toolkit':>12} {'by hand':>12} {'ratio':>7}   (server CPU per call)")
    taken = []
    with tempfile.TemporaryDirectory() as name:
        descriptor_set = compile_stubs(Path(name))
        for number in range(rounds):
            ours, plain = play_round(Path(name), descriptor_set, calls, client_count)
            taken.append((ours, plain, ours / plain))
            print(f"{number + 1:>5} {ours:>9.1f} µs {plain:>9.1f} µs {ours / plain:>7.3f}", flush=True)
    ours, plain, ratio = (statistics.median(row[column] for row in taken) for column in range(3))
    low, high = median_interval([row[2] for row in taken])
    print(f"{'':>5} {ours:>9.1f} µs {plain:>9.1f} µs {ratio:>7.3f}   medians")
    print(f"ratio {ratio:.3f}, 95 % interval {low:.3f} … {high:.3f}; target at most {TARGET}")
    return ratio


def main() -> int:
    """Measure; the exit code is 1 when the target is missed."""
    parser = argparse.ArgumentParser(description="CPU of the server per gRPC call, beside one written by hand.")
    parser.add_argument("--rounds", type=int, default=16, help="at least 10")
    parser.add_argument("--calls", type=int, default=6000, help="in each round, to each server")
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    options = parser.parse_args()
    if options.rounds < 10:
        parser.error("fewer than 10 rounds say nothing")
    return int(run(options.rounds, options.calls, options.clients) > TARGET)


if __name__ == "__main__":
    raise SystemExit(main())
