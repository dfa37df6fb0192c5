"""Handlers with converted messages, called."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import LocalCall, running
from toolkit.errors import Abort, Code
from toolkit.manifest import Manifest
from toolkit.runtime.dispatch import Codec

HANDLERS = """
    @attrs.frozen
    class User:
        id: int = attrs.field(validator=attrs.validators.lt(10))
        name: str

    @users.rpc
    async def create_user(request: User, context) -> User:
        assert context.request.name == request.name  # the message itself
        return attrs.evolve(request, name=request.name.upper())

    @users.rpc
    async def import_users(requests: AsyncIterator[User]) -> dict:
        names = [user.name async for user in requests]
        return {"id": len(names), "name": "+".join(names)}

    @users.rpc
    async def chat(requests: AsyncIterator[dict]) -> AsyncIterator[User]:
        async for user in requests:
            yield User(user["id"] + 1, user["name"])

    @users.rpc
    async def ping(request) -> None: ...
"""


async def test_requests_and_replies_are_converted(module: Callable[..., ModuleType]) -> None:
    """Attrs classes and dicts stand for messages in all kinds of methods."""
    async with running(module(HANDLERS)) as service:
        reply = await service.call("CreateUser", id=3, name="ann")
        assert (reply.id, reply.name) == (3, "ANN")
        user = service.endpoint("Chat").request_class
        reply = await service.call("ImportUsers", [user(id=1, name="a"), user(id=2, name="b")])
        assert (reply.id, reply.name) == (2, "a+b")
        replies = await service.stream("Chat", [user(id=1, name="a")])
        assert [(item.id, item.name) for item in replies] == [(2, "a")]
        await service.call("Ping")


async def test_a_request_that_the_class_refuses_is_the_clients_mistake(module: Callable[..., ModuleType]) -> None:
    """A validator's refusal is INVALID_ARGUMENT with the field's name, and its text is for the log alone."""
    async with running(module(HANDLERS)) as service:
        user = service.endpoint("CreateUser").request_class
        with capture_logs() as events:
            for call in (service.call("CreateUser", id=10), service.call("ImportUsers", [user(id=1), user(id=10)])):
                with pytest.raises(Abort) as caught:
                    await call
                assert caught.value.code is Code.INVALID_ARGUMENT
                assert caught.value.message == "the request does not fit: field 'id' is not accepted"
        assert [(event["event"], event["field"], event["log_level"]) for event in events] == [
            ("toolkit.request_refused", "id", "info")
        ] * 2
        assert str(events[0]["exc_info"]) == "'id' must be < 10: 10"


async def test_a_generated_class_reaches_the_handler(
    module: Callable[..., ModuleType], things: Manifest, generated: ModuleType
) -> None:
    """A parameter annotated with a generated class receives that class, decoded to directly."""
    handlers = module(
        """
        import things_pb2
        things = Service("things.v1.Things")

        @things.rpc
        async def put(request: things_pb2.Thing) -> things_pb2.Thing:
            assert type(request) is things_pb2.Thing
            return things_pb2.Thing(id=request.id + 1)
        """,
        "generated_handlers",
    )
    del handlers.users
    async with running(handlers, manifest=things) as service:
        endpoint = service.dispatcher.endpoints["/things.v1.Things/Put"]
        assert endpoint.request_class is endpoint.reply_class is generated.Thing
        serve = endpoint.serve(
            Codec(decode=endpoint.request_class.FromString, encode=lambda reply: reply.SerializeToString())
        )
        payload = await serve(LocalCall(endpoint.declaration, generated.Thing(id=4).SerializeToString()))
        thing: Any = generated.Thing.FromString(payload)
        assert thing.id == 5
