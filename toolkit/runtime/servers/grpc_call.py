"""One gRPC call: bytes to a Context and back, and every way in which a call can end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from grpc import aio

from toolkit.errors import Abort, Code
from toolkit.manifest import Cardinality, MethodDeclaration
from toolkit.runtime.call import Context, MetadataPairs
from toolkit.runtime.dispatch import Codec, Endpoint

__all__ = ["Calls", "GrpcContext", "RequestStream", "abort_handler", "end_with", "endpoint_handler"]

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Servicer: TypeAlias = "aio.ServicerContext[bytes, bytes]"

#: Something escaped that dispatch should have turned into a status: ``method``.
CALL_FAILED = "toolkit.grpc_call_failed"

#: The key under which clients look for a google.rpc.Status.
_DETAILS_KEY = "grpc-status-details-bin"
_STATUS_CODES = {code: grpc.StatusCode[code.name] for code in Code}
_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")


class Calls:
    """How many calls are under way, and how many there may be."""

    __slots__ = ("_idle", "active", "limit")

    def __init__(self, limit: int) -> None:
        self.active = 0
        self.limit = limit
        self._idle: asyncio.Future[None] | None = None

    @property
    def refusal(self) -> str:
        """What a client is told that calls while there are as many as there may be."""
        return f"{self.limit} calls are under way, the most there may be"

    def end_one(self) -> None:
        """Count one call less."""
        self.active -= 1
        if self._idle is not None and not self.active and not self._idle.done():
            self._idle.set_result(None)

    async def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is under way; false when that took longer than ``timeout``."""
        if self.active:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._idle}, timeout=timeout)
        return not self.active


class _EndedCall:
    """Stands in for the engine's call once that is over, for it must not be touched any more."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"the call is over: what a task of its own needs of it ({name}) is read before the reply")


_ENDED: Any = _EndedCall()


class GrpcContext(Context):
    """A call that came over gRPC."""

    __slots__ = ("_servicer",)

    def __init__(self, method: MethodDeclaration, request: Any, servicer: Servicer) -> None:
        super().__init__(method, request)
        self._servicer = servicer

    def _read_metadata(self) -> MetadataPairs:
        pairs: Any = self._servicer.invocation_metadata()
        return pairs or ()

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None when it set none."""
        return self._servicer.time_remaining()

    @property
    def peer(self) -> str:
        """The caller's address: ``ipv4:127.0.0.1:51234``, ``ipv6:[::1]:51234`` or ``unix:``."""
        return self._servicer.peer().replace("%5B", "[").replace("%5D", "]")

    async def send_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        """Send initial metadata now, before the first reply; at most once a call."""
        try:
            await self._servicer.send_initial_metadata(tuple(map(_check_pair, pairs)))
        except aio.UsageError:
            raise RuntimeError("initial metadata was already sent, or went with the first reply") from None

    def add_trailing_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        """Add metadata that is sent with the status, after the last reply."""
        super().add_trailing_metadata(*map(_check_pair, pairs))


def _check_pair(pair: tuple[str, str | bytes]) -> tuple[str, str | bytes]:
    # The engine gives a call with bad metadata up without any status: its client would wait for ever.
    key, value = pair[0].lower(), pair[1]
    if not _KEY.fullmatch(key) or key.startswith("grpc-"):
        raise ValueError(f"metadata key {key!r}: letters, digits, '-', '_' and '.', and not under 'grpc-'")
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise TypeError(f"metadata {key!r} takes bytes, for its key ends in '-bin'; got {type(value).__name__}")
    elif not isinstance(value, str):
        raise TypeError(f"metadata {key!r} takes text; {type(value).__name__} goes under a key that ends in '-bin'")
    elif not _TEXT.fullmatch(value):
        raise ValueError(f"metadata {key!r} takes printable ASCII; anything else goes as bytes under '{key}-bin'")
    return key, value


class RequestStream:
    """The client's messages as they arrive."""

    __slots__ = ("_read",)

    def __init__(self, servicer: Servicer) -> None:
        self._read = servicer.read

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> bytes:
        message: Any = await self._read()
        if message is aio.EOF:
            # grpc.aio reports a stream that its client cancelled just like one that it
            # finished, and only then cancels the handler: half an upload would be taken
            # for a whole one. One more read returns only after that.
            await self._read()
            raise StopAsyncIteration
        return message  # type: ignore[no-any-return]


def endpoint_handler(endpoint: Endpoint, calls: Calls, max_reply_size: int) -> Handler:
    """The engine's handler for one method: received bytes in, the reply's bytes out."""
    reply_class: Any = endpoint.reply_class
    codec = Codec(decode=endpoint.request_class.FromString, encode=reply_class.SerializeToString)
    declaration = endpoint.declaration
    cardinality = declaration.cardinality
    compile_behaviour = _stream_replies if cardinality.server_streaming else _reply_once
    behaviour = compile_behaviour(declaration, endpoint.serve(codec), calls, max_reply_size)
    return _HANDLERS[cardinality](behaviour)


def _reply_once(
    declaration: MethodDeclaration, serve: Callable[[Context], Any], calls: Calls, max_reply_size: int
) -> Callable[[Any, Servicer], Awaitable[bytes]]:
    client_streams = declaration.cardinality.client_streaming

    async def reply_once(request: Any, servicer: Servicer) -> bytes:
        if calls.active >= calls.limit:
            await _refuse(calls, servicer)
        calls.active += 1
        context = GrpcContext(declaration, RequestStream(servicer) if client_streams else request, servicer)
        try:
            reply: bytes = await serve(context)
            if len(reply) > max_reply_size:
                raise _too_large(reply, max_reply_size)
            if context.trailing_metadata is not None:
                servicer.set_trailing_metadata(_trailing_metadata(context))
            return reply
        except BaseException as error:  # noqa: BLE001 -- ends the call with a status, or raises it again
            await end_with(error, declaration.path, servicer, context)
        finally:
            context._servicer = _ENDED
            calls.end_one()

    return reply_once


def _stream_replies(
    declaration: MethodDeclaration, serve: Callable[[Context], Any], calls: Calls, max_reply_size: int
) -> Callable[[Any, Servicer], Awaitable[None]]:
    client_streams = declaration.cardinality.client_streaming

    async def stream_replies(request: Any, servicer: Servicer) -> None:
        if calls.active >= calls.limit:
            await _refuse(calls, servicer)
        calls.active += 1
        context = GrpcContext(declaration, RequestStream(servicer) if client_streams else request, servicer)
        replies = serve(context)
        try:
            try:
                async for reply in replies:
                    if len(reply) > max_reply_size:
                        raise _too_large(reply, max_reply_size)
                    await servicer.write(reply)
            finally:
                # Left to the garbage collector, the handler's `finally` would run some time later.
                await replies.aclose()
            if context.trailing_metadata is not None:
                servicer.set_trailing_metadata(_trailing_metadata(context))
        except BaseException as error:  # noqa: BLE001 -- ends the call with a status, or raises it again
            await end_with(error, declaration.path, servicer, context)
        finally:
            context._servicer = _ENDED
            calls.end_one()

    return stream_replies


_HANDLERS: dict[Cardinality, Callable[[Callable[..., Any]], Handler]] = {
    Cardinality.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Cardinality.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Cardinality.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Cardinality.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}


def abort_handler(code: Code, message: str) -> Handler:
    """A handler that ends every call with this status, before its request is read."""

    async def abort(_requests: Any, servicer: Servicer) -> NoReturn:
        await servicer.abort(_STATUS_CODES[code], message)

    return grpc.stream_unary_rpc_method_handler(abort)


async def _refuse(calls: Calls, servicer: Servicer) -> NoReturn:
    await servicer.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, calls.refusal)


def _too_large(reply: bytes, limit: int) -> Abort:
    return Abort(Code.RESOURCE_EXHAUSTED, f"the reply has {len(reply)} bytes; this server sends {limit} at most")


async def end_with(error: BaseException, path: str, servicer: Servicer, context: Context | None = None) -> NoReturn:
    """End the call with the status that ``error`` stands for; no text of any but an Abort crosses the wire.

    Raises:
        BaseException: always; it tells the engine that the call has been dealt with.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            # The client hung up, its deadline has passed, or the server stops: nobody waits for a status.
            raise error
        # Raised by something that the handler awaited: without a status the client would wait on.
        error = Abort(Code.CANCELLED, "the call was cancelled by the server")
    elif not isinstance(error, Exception):
        raise error
    elif isinstance(error, aio.BaseError):
        # A reply could not be sent, for the client is gone; the engine would log a traceback.
        raise asyncio.CancelledError from None
    abort, trailing = _compose_status(error, path, context)
    try:
        await servicer.abort(_STATUS_CODES[abort.code], abort.message, trailing)
    except aio.InternalError:
        raise asyncio.CancelledError from None


def _compose_status(
    error: Exception, path: str, context: Context | None
) -> tuple[Abort, tuple[tuple[str, str | bytes], ...]]:
    try:
        if not isinstance(error, Abort):
            raise error
        trailing = _trailing_metadata(context)
        if error.details:
            trailing = (*trailing, (_DETAILS_KEY, _serialize_status(error)))
    except Exception as mistake:  # noqa: BLE001 -- the boundary that turns it into a status
        structlog.get_logger("toolkit.grpc").error(CALL_FAILED, method=path, exc_info=mistake)
        return Abort(Code.INTERNAL, "internal error"), ()
    return error, trailing


def _trailing_metadata(context: Context | None) -> tuple[tuple[str, str | bytes], ...]:
    # Handlers may have set the list itself.
    pairs = context.trailing_metadata if context is not None else None
    return tuple(map(_check_pair, pairs or ()))


def _serialize_status(abort: Abort) -> bytes:
    # Imported by the first call that has details: most services never send any.
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it has no stubs

    status = Status(code=abort.code, message=abort.message)
    for detail in abort.details:
        if detail.DESCRIPTOR.full_name == AnyMessage.DESCRIPTOR.full_name:
            status.details.add().MergeFromString(detail.SerializeToString())
        else:
            status.details.add().Pack(detail)
    data: bytes = status.SerializeToString()
    return data
