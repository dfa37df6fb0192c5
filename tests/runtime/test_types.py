"""The public decorators keep the types of what they decorate; mypy checks this file, pytest runs it."""

from __future__ import annotations

from typing import Any, assert_type

from toolkit import Context, Service, component, middleware, on_start
from toolkit.runtime.dispatch import Codec, Dispatcher, Endpoint


async def test_decorated_functions_and_classes_keep_their_types() -> None:
    """A handler, a hook, a middleware and a component are to a type checker what they were without their mark."""
    users = Service("shop.v1.UserService")

    @users.rpc
    async def create_user(request: dict[str, Any], context: Context, *, limit: int = 3) -> dict[str, Any]:
        return {"id": limit}

    @users.rpc("ListUsers")
    async def everyone(request: bytes) -> int:
        return len(request)

    @users.implement
    class Users:
        number = 3

    @component
    class Repository:
        def __init__(self, number: int) -> None:
            self.number = number

    @on_start
    async def warm(*, repository: Repository) -> None: ...

    @middleware(name="audit")
    async def audit(call: Context, following: Any) -> str:
        return ""

    assert_type(Users().number, int)
    assert_type(Repository(3).number, int)
    assert await everyone(b"") == 0

    async def refuse() -> None:
        """Never called: what matters is what a type checker makes of it."""
        await create_user({}, "no context")  # type: ignore[arg-type]  # it is no Context
        await audit(3, None)  # type: ignore[arg-type]  # it is no Context
        await warm(repository=3)  # type: ignore[arg-type]  # it is no Repository

    assert users.fallback(refuse) is refuse


def check_serving(dispatcher: Dispatcher, endpoint: Endpoint, codec: Codec) -> None:
    """What server authors rely on."""
    assert_type(dispatcher.endpoints["/a.B/C"], Endpoint)
    assert_type(codec.encode(endpoint.reply_class()), Any)
