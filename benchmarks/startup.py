"""From the command to SERVING: a lean service beside an empty grpc.aio server with uvloop, started in turn.

The target is at most 150 ms more than the empty server on the same machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toolkit.cli.compile import compile_protos

ROUNDS = 15

_EMPTY_SERVER = """
import asyncio, grpc, uvloop

async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()

uvloop.run(main())
"""

_PROTO = """
syntax = "proto3";
package bench;
service Echo { rpc Say(Text) returns (Text); }
message Text { string text = 1; }
"""

_HANDLERS = """
from toolkit import Service

echo = Service("bench.Echo")

@echo.rpc
async def say(request):
    return request
"""


def seconds_until(marker: str, command: list[str], *, cwd: str, env: dict[str, str]) -> float:
    """Start a process and give the seconds until its output holds ``marker``; then end it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    assert process.stdout is not None
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            if marker in line:
                return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    raise RuntimeError("".join(output))


def main() -> None:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env |= {"ECHO_GRPC_SERVER_PORT": "0", "ECHO_GRPC_SERVER_LISTEN": "127.0.0.1"}
    toolkit_run = str(Path(sys.executable).parent / "toolkit-run")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo.proto").write_text(_PROTO, encoding="utf-8")
        Path(folder, "echo_handlers.py").write_text(_HANDLERS, encoding="utf-8")
        Path(folder, "empty.py").write_text(_EMPTY_SERVER, encoding="utf-8")
        Path(folder, "echo.pb").write_bytes(compile_protos([Path(folder, "echo.proto")]))
        ours = [toolkit_run, "echo.pb", "--handlers", "echo_handlers"]
        empty = [sys.executable, "empty.py"]
        pairs = []
        for round_number in range(ROUNDS + 1):
            a = seconds_until("ready", empty, cwd=folder, env=env)
            b = seconds_until("toolkit.service_started", ours, cwd=folder, env=env)
            if round_number:  # the first one compiles bytecode and warms the page cache
                pairs.append((a, b))
    extra = [(b - a) * 1000 for a, b in pairs]
    quartiles = statistics.quantiles(extra, n=4)
    print(f"start to serving, {len(pairs)} interleaved rounds, median [quartiles]")
    print(f"  empty grpc.aio server  {statistics.median(a for a, _ in pairs) * 1000:7.1f} ms")
    print(f"  lean service           {statistics.median(b for _, b in pairs) * 1000:7.1f} ms")
    print(f"  difference             {statistics.median(extra):7.1f} ms  [{quartiles[0]:.1f}, {quartiles[2]:.1f}]")


if __name__ == "__main__":
    main()
