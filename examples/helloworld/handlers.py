from collections.abc import AsyncIterator
from typing import Any

from toolkit import Service

greeter = Service("helloworld.Greeter")


@greeter.rpc
async def say_hello(request: Any) -> dict[str, str]:
    return {"message": f"Hello, {request.name or 'world'}!"}


@greeter.rpc
async def say_hellos(request: Any) -> AsyncIterator[dict[str, str]]:
    for greeting in ("Hello", "Bonjour", "Salut"):
        yield {"message": f"{greeting}, {request.name or 'world'}!"}
