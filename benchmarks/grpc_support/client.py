"""A client that calls and checks every reply: ``PORT CALLS`` on stdin makes the calls, ``done`` on stdout follows."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import uvloop
from grpc import aio

from benchmarks.grpc_support.serving import read_lines

#: Calls that one client has under way at a time.
CONCURRENCY = 16


async def call_all(greet: Any, request: Any, expected: str, calls: int) -> None:
    numbers = iter(range(calls))
    metadata = (("x-tenant", "acme"), ("x-request-id", "4f5a1c0e"))

    async def call_some() -> None:
        for _ in numbers:
            reply = await greet(request, timeout=30, metadata=metadata)
            if reply.text != expected or not reply.in_time or reply.number < 1:
                raise RuntimeError(f"a wrong reply: {reply}")

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(call_some())


async def main() -> None:
    messages: Any = importlib.import_module("greeter_pb2")
    stubs: Any = importlib.import_module("greeter_pb2_grpc")
    request = messages.GreetRequest(name="Ada", times=2)
    channels: dict[str, aio.Channel] = {}
    async for line in read_lines():
        port, calls = line.split()
        if port not in channels:
            channels[port] = aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        await call_all(stubs.GreeterStub(channels[port]).Greet, request, "Hello AdaAda", int(calls))
        print("done", flush=True)
    for channel in channels.values():
        await channel.close()


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())
