"""The method as a toolkit handler: context, metadata, deadline, and three injected objects."""

from __future__ import annotations

from typing import Any

from benchmarks.grpc_support.objects import Counter, Greetings, Limits
from toolkit import Context, Service

greeter = Service("bench.v1.Greeter")
GreetReply = greeter.message("GreetReply")


@greeter.rpc
async def greet(request: Any, context: Context, *, greetings: Greetings, limits: Limits, counter: Counter) -> Any:
    greeting = greetings.of(str(context.metadata["x-tenant"]))
    times = min(request.times, limits.most_times)
    remaining = context.time_remaining()
    return GreetReply(
        text=f"{greeting} {request.name * times}",
        number=counter.count(),
        in_time=remaining is not None and remaining > 0,
    )
