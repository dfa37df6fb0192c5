"""What dispatch costs: CPU of the server per gRPC call, beside a server written by hand.

Both serve the same unary method, read the same metadata and deadline, and use the same
three objects: one on grpc.aio, uvloop and protoc's stubs, the other through toolkit,
whose handler is given its context and the three objects. Client processes call one and
then the other, in alternating order, and check every reply; the kernel says how much
CPU time each server's process took meanwhile.

    python -m benchmarks.grpc [--rounds 20] [--calls 4000] [--clients 2]
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

SUPPORT = Path(__file__).parent / "grpc_support"
#: Server CPU per call, toolkit's to the hand-written one's, that is promised.
TARGET = 1.05


class Child:
    """A process that does as it is told by lines, and ends when its stdin does."""

    def __init__(self, module: str, argument: Path) -> None:
        command = [sys.executable, "-m", f"benchmarks.grpc_support.{module}", str(argument)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args!r} ended early, with {self.process.wait()}")
        return line

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that all of its threads have taken."""
        # The kernel's name for the process's CPU clock, as in clock_getcpuclockid(3): to the
        # nanosecond, while /proc counts in steps of 10 ms.
        return time.clock_gettime(~self.process.pid << 3 | 2)


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
        client.hear()
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


def run(rounds: int, calls: int, client_count: int) -> float:
    """Print the table; returns the median ratio."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        descriptor_set = compile_stubs(folder)
        ours = stack.enter_context(Child("toolkit_server", descriptor_set))
        plain = stack.enter_context(Child("plain_server", folder))
        servers = {"toolkit": (ours, ours.hear()), "by hand": (plain, plain.hear())}
        clients = [stack.enter_context(Child("client", folder)) for _ in range(client_count)]
        for server, port in servers.values():
            measure(server, port, clients, calls)
        print(f"{rounds} rounds of {calls} calls from {client_count} clients, every reply checked")
        print(f"{'round':>5} {'toolkit':>12} {'by hand':>12} {'ratio':>7}   (server CPU per call)")
        ratios, totals = [], {name: list[float]() for name in servers}
        for number in range(rounds):
            order = list(servers) if number % 2 else list(reversed(servers))
            taken = {name: measure(*servers[name], clients, calls) for name in order}
            for name, value in taken.items():
                totals[name].append(value)
            ratios.append(taken["toolkit"] / taken["by hand"])
            print(f"{number + 1:>5} {taken['toolkit']:>9.1f} µs {taken['by hand']:>9.1f} µs {ratios[-1]:>7.3f}")
    medians = {name: statistics.median(values) for name, values in totals.items()}
    ratio, (low, high) = statistics.median(ratios), median_interval(ratios)
    print(f"{'':>5} {medians['toolkit']:>9.1f} µs {medians['by hand']:>9.1f} µs {ratio:>7.3f}   medians")
    print(f"ratio {ratio:.3f}, 95 % interval {low:.3f} … {high:.3f}; target at most {TARGET}")
    return ratio


def main() -> int:
    """Measure; the exit code is 1 when the target is missed."""
    parser = argparse.ArgumentParser(description="CPU of the server per gRPC call, beside one written by hand.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=4000, help="in each round, to each server")
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    options = parser.parse_args()
    return int(run(options.rounds, options.calls, options.clients) > TARGET)


if __name__ == "__main__":
    raise SystemExit(main())
