"""The server's own methods: health and reflection, from bytes to bytes beside the service's endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc

from toolkit.errors import Abort, Code
from toolkit.runtime.servers.grpc_call import Handler, RequestStream, Servicer, end_with

__all__ = ["BuiltinMethods", "parse_request"]


class BuiltinMethods:
    """The handlers of the server's own methods by path.

    They are no calls that the server waits for at its end: their streams last as long as
    the client likes, and :meth:`end` ends them.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False

    def add_unary(self, path: str, behaviour: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Serve ``behaviour``, which may raise Abort."""

        async def reply_once(request: bytes, servicer: Servicer) -> bytes:
            try:
                return await behaviour(request)
            except BaseException as error:  # noqa: BLE001 -- ends the call with a status, or raises it again
                await end_with(error, path, servicer)

        self.handlers[path] = grpc.unary_unary_rpc_method_handler(reply_once)

    def add_stream(self, path: str, behaviour: Callable[[RequestStream], AsyncGenerator[bytes, None]]) -> None:
        """Serve ``behaviour``, whose replies stream, whether the client sends one request or several."""

        async def reply_often(_requests: object, servicer: Servicer) -> None:
            task: Any = asyncio.current_task()
            self._tasks.add(task)
            replies = behaviour(RequestStream(servicer))
            try:
                if self._ending:
                    raise _stopping()
                try:
                    async for reply in replies:
                        await servicer.write(reply)
                finally:
                    await replies.aclose()
            except BaseException as error:  # noqa: BLE001 -- ends the call with a status, or raises it again
                if self._ending and isinstance(error, asyncio.CancelledError):
                    task.uncancel()
                    error = _stopping()
                await end_with(error, path, servicer)
            finally:
                self._tasks.discard(task)

        self.handlers[path] = grpc.stream_stream_rpc_method_handler(reply_often)

    def end(self) -> None:
        """End the streams that are open with UNAVAILABLE, and at once those that still begin."""
        self._ending = True
        for task in self._tasks:
            task.cancel()


def _stopping() -> Abort:
    return Abort(Code.UNAVAILABLE, "the server is stopping")


def parse_request(message_class: Any, request: bytes) -> Any:
    """The request as a message.

    Raises:
        Abort: INVALID_ARGUMENT, for it is none.
    """
    from google.protobuf.message import DecodeError

    try:
        return message_class.FromString(request)
    except DecodeError:
        raise Abort(Code.INVALID_ARGUMENT, f"the request is no {message_class.DESCRIPTOR.full_name}") from None
