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
        self._streams: set[asyncio.Task[Any]] = set()
        #: What is under way to find out the next reply of each stream.
        self._pulls: set[asyncio.Task[bytes | None]] = set()
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
            stream: Any = asyncio.current_task()
            self._streams.add(stream)
            replies = behaviour(RequestStream(servicer))
            try:
                try:
                    while (reply := await self._pull(replies)) is not None:
                        # Never cancelled by end(): after a write that was given up half-way the
                        # engine takes no status, and keeps the call for ever.
                        await servicer.write(reply)
                finally:
                    await replies.aclose()
            except BaseException as error:  # noqa: BLE001 -- ends the call with a status, or raises it again
                await end_with(error, path, servicer)
            finally:
                self._streams.discard(stream)

        self.handlers[path] = grpc.stream_stream_rpc_method_handler(reply_often)

    async def _pull(self, replies: AsyncGenerator[bytes, None]) -> bytes | None:
        """The next reply; None after the last.

        Raises:
            Abort: the server is stopping.
        """
        if self._ending:
            raise _stopping()
        stream: Any = asyncio.current_task()
        pull = asyncio.create_task(_next(replies))
        self._pulls.add(pull)
        try:
            return await pull
        except asyncio.CancelledError:
            if stream.cancelling():
                # The client hung up.
                raise
            raise _stopping() from None
        finally:
            self._pulls.discard(pull)

    async def end(self, timeout: float) -> bool:
        """End the streams that are open with UNAVAILABLE, and at once those that still begin.

        False when some are left after ``timeout`` seconds: their clients do not read what
        was sent to them, so that no status can follow it.
        """
        self._ending = True
        for pull in self._pulls:
            pull.cancel()
        if self._streams:
            await asyncio.wait(self._streams, timeout=timeout)
        return not self._streams


async def _next(replies: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(replies, None)


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
