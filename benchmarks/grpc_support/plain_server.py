"""The greeter as one writes it by hand on grpc.aio and protoc's stubs; prints its port, serves until stdin ends."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import uvloop
from grpc import aio

from benchmarks.grpc_support.objects import Counter, Greetings, Limits
from benchmarks.grpc_support.serving import announce_and_wait


async def serve() -> None:
    messages: Any = importlib.import_module("greeter_pb2")
    stubs: Any = importlib.import_module("greeter_pb2_grpc")

    class Greeter(stubs.GreeterServicer):  # type: ignore[misc]  # generated at run time
        def __init__(self) -> None:
            self.greetings, self.limits, self.counter = Greetings(), Limits(), Counter()

        async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the stub's name
            tenant = next(value for key, value in context.invocation_metadata() if key == "x-tenant")
            greeting = self.greetings.of(tenant)
            times = min(request.times, self.limits.most_times)
            remaining = context.time_remaining()
            return messages.GreetReply(
                text=f"{greeting} {request.name * times}",
                number=self.counter.count(),
                in_time=remaining is not None and remaining > 0,
            )

    # The options are those that toolkit sets; without them the comparison would be of settings.
    limit = 16 * 1024**2
    server = aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
        ]
    )
    stubs.add_GreeterServicer_to_server(Greeter(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await announce_and_wait(port)
    await server.stop(0)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve())
