"""Calls in, payloads out: everything about a method is decided once, and what leaves is a result or a status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import attrs
import structlog
from google.protobuf.message import Message

from toolkit.errors import Abort, Code, UnavailableError
from toolkit.manifest import MethodDeclaration
from toolkit.runtime.call import Context
from toolkit.runtime.messages import ConversionError
from toolkit.runtime.scope import CallScope, raise_outcome
from toolkit.runtime.shield import Shield

__all__ = ["Codec", "Dispatcher", "Endpoint", "Hook", "InFlight"]

#: A handler, a middleware or a commit raised: ``rpc_method``, ``error_id``.
CALL_FAILED: Final = "toolkit.call_failed"
#: A call needed a plugin that is degraded: ``rpc_method``, ``prefix``, ``plugin``.
CALL_REFUSED: Final = "toolkit.call_refused"
#: A request could not be decoded or does not fit its attrs class: ``rpc_method``.
REQUEST_REFUSED: Final = "toolkit.request_refused"

_log = structlog.get_logger("toolkit.call")


@attrs.frozen(kw_only=True, eq=False)
class Codec:
    """How one face of a method turns payloads into messages and back; the server chooses it.

    For gRPC these are ``endpoint.request_class.FromString`` and ``SerializeToString``.
    """

    decode: Callable[[Any], Message]
    encode: Callable[[Any], Any]


@attrs.frozen(eq=False)
class Hook:
    """A function marked ``@on_start`` or ``@on_stop``, with everything it asked for at hand."""

    #: ``shop.handlers.warm_cache``, for logs.
    name: str
    run: Callable[[], Awaitable[Any]]

    def __call__(self) -> Awaitable[Any]:
        """Run it."""
        return self.run()


class InFlight:
    """The calls that are running, and their tasks."""

    __slots__ = ("_idle", "loop", "running")

    def __init__(self) -> None:
        # Looked up once: on Python 3.11 every look-up is a system call.
        self.loop = asyncio.get_running_loop()
        self.running: dict[Context, asyncio.Task[Any] | None] = {}
        self._idle: list[asyncio.Future[None]] = []

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks in which calls are running."""
        return frozenset(task for task in self.running.values() if task is not None)

    def end(self, context: Context) -> None:
        """Count a call as over: nothing of it runs any more."""
        del self.running[context]
        if self._idle and not self.running:
            for waiter in self._idle:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle.clear()

    async def wait_idle(self) -> None:
        """Return as soon as no call is running."""
        while self.running:
            waiter = self.loop.create_future()
            self._idle.append(waiter)
            await waiter


#: The chain of middlewares around a handler, ready to be called: gives a reply message,
#: or an async iterator of them.
Chain = Callable[[Context], Awaitable[Any]]


@attrs.frozen(kw_only=True, eq=False)
class Endpoint:
    """One served method: bound, compiled, and the same over every protocol."""

    declaration: MethodDeclaration
    #: What a codec decodes to.
    request_class: type[Message]
    #: What a codec usually encodes; a reply may be of another class with the same full name.
    reply_class: type[Message]
    #: The handler when nothing stands around it and nothing has to be made for a call:
    #: takes request and context, gives what the handler gives.
    direct: Callable[[Any, Context], Any] | None
    #: Middlewares and handler, for every other method.
    chain: Chain
    #: Middlewares of plugins, outermost first; they see commits that fail, too.
    around: Sequence[Callable[..., Awaitable[Any]]]
    adopt: Callable[[Any], Message]
    in_flight: InFlight
    shield: Shield

    def serve(self, codec: Codec) -> Callable[[Context], Any]:
        """The method over one face.

        ``context.request`` holds the received payload (client streams: an async iterator of
        payloads). For one reply the result is ``async (context) -> payload``, for streamed
        ones an async generator function ``(context) -> payloads``; whoever stops reading
        such a stream closes it with ``aclose``. What it raises is ``Abort`` or
        ``CancelledError``.
        """
        decode = self._decoder(codec)
        if self.declaration.cardinality.server_streaming:
            return self._serve_stream(codec, decode)
        if self.around:
            return self._serve_around(codec, decode)
        if self.direct is not None:
            return self._serve_directly(codec, decode, self.direct)
        return self._serve_scoped(codec, decode)

    # One reply

    def _serve_directly(
        self, codec: Codec, decode: Callable[[Any], Any], handler: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Context], Awaitable[Any]]:
        running, end = self.in_flight.running, self.in_flight.end
        loop, current_task = self.in_flight.loop, asyncio.current_task
        reply_class, adopt, encode = self.reply_class, self.adopt, codec.encode

        async def serve(context: Context) -> Any:
            running[context] = current_task(loop)
            try:
                request = context.request = decode(context.request)
                reply = await handler(request, context)
                if type(reply) is not reply_class:
                    reply = adopt(reply)
                payload = encode(reply)
                if context._after_commit is not None:
                    await CallScope().commit(self.shield, context._after_commit)
                return payload
            except BaseException as error:
                end_of_call = _status_of(error, context)
                if end_of_call is None:
                    raise
                raise end_of_call from error
            finally:
                end(context)

        return serve

    def _serve_scoped(self, codec: Codec, decode: Callable[[Any], Any]) -> Callable[[Context], Awaitable[Any]]:
        running, end, loop = self.in_flight.running, self.in_flight.end, self.in_flight.loop
        shield, current_task = self.shield, asyncio.current_task
        chain, reply_class, adopt, encode = self.chain, self.reply_class, self.adopt, codec.encode

        async def serve(context: Context) -> Any:
            running[context] = current_task(loop)
            scope = context._scope = CallScope()
            try:
                context.request = decode(context.request)
                reply = await chain(context)
                payload = encode(reply if type(reply) is reply_class else adopt(reply))
                if scope.entered:
                    await scope.leave(None)
                if scope.views or context._after_commit is not None:
                    outcome = scope.begin_commit(shield, context._after_commit)
                    if outcome is not None:
                        await shield.wait(outcome)
                        raise_outcome(outcome)
                return payload
            except BaseException as error:  # noqa: BLE001 -- raised again, or as the status for it
                await self._end(error, scope, context)
            finally:
                end(context)

        return serve

    def _serve_around(self, codec: Codec, decode: Callable[[Any], Any]) -> Callable[[Context], Awaitable[Any]]:
        """As above, with the plugins' middlewares around the commit, too."""
        in_flight, encode = self.in_flight, codec.encode
        answer = self._with_around(self._answer_once(encode))

        async def serve(context: Context) -> Any:
            in_flight.running[context] = asyncio.current_task(in_flight.loop)
            try:
                context.request = decode(context.request)
                scope = context._scope = CallScope()
                reply = await answer(context)
                if scope.outcome is not None and scope.outcome[0] is reply:
                    return scope.outcome[1]
                return encode(self.adopt(reply))
            except BaseException as error:
                end_of_call = _status_of(error, context)
                if end_of_call is None:
                    raise
                raise end_of_call from error
            finally:
                in_flight.end(context)

        return serve

    def _answer_once(self, encode: Callable[[Any], Any]) -> Chain:
        chain, reply_class, adopt, shield = self.chain, self.reply_class, self.adopt, self.shield

        async def answer(context: Context) -> Any:
            scope: CallScope = context._scope
            try:
                reply = await chain(context)
                if type(reply) is not reply_class:
                    reply = adopt(reply)
                payload = encode(reply)
                await scope.leave(None)
                await scope.commit(shield, context._after_commit)
            except BaseException as error:
                await scope.roll_back(shield, error)
                raise
            scope.outcome = (reply, payload)
            return reply

        return answer

    # A stream of replies

    def _serve_stream(self, codec: Codec, decode: Callable[[Any], Any]) -> Callable[[Context], AsyncIterator[Any]]:
        in_flight, encode, reply_class, adopt = self.in_flight, codec.encode, self.reply_class, self.adopt
        start = self._with_around(self.chain)

        async def serve(context: Context) -> AsyncIterator[Any]:
            in_flight.running[context] = asyncio.current_task(in_flight.loop)
            scope = context._scope = CallScope()
            try:
                context.request = decode(context.request)
                replies = await start(context)
                scope.follow(replies)
                async for reply in replies:
                    yield encode(reply if type(reply) is reply_class else adopt(reply))
                await scope.close_streams()
                await scope.leave(None)
                await scope.commit(self.shield, context._after_commit)
            except BaseException as error:  # noqa: BLE001 -- raised again, or as the status for it
                await self._end(error, scope, context)
            finally:
                in_flight.end(context)

        return serve

    # What both share

    async def _end(self, error: BaseException, scope: CallScope, context: Context) -> NoReturn:
        """Close whatever a failed call has opened, and raise the status with which it ends."""
        cause = error
        try:
            await scope.close_streams()
            await scope.roll_back(self.shield, error)
        except BaseException as failure:  # noqa: BLE001 -- it ends the call in place of the first
            cause = failure
        end_of_call = _status_of(cause, context)
        if isinstance(error, GeneratorExit):  # nobody reads on; what went wrong since is logged
            raise error
        if end_of_call is None:
            raise cause
        raise end_of_call from cause

    def _with_around(self, innermost: Chain) -> Chain:
        chain = innermost
        for middleware in reversed(self.around):
            chain = _link(middleware, chain)
        return chain

    def _decoder(self, codec: Codec) -> Callable[[Any], Any]:
        decode, declaration = codec.decode, self.declaration

        def decode_one(payload: Any) -> Any:
            try:
                return decode(payload)
            except Abort:
                raise
            except Exception as error:
                raise Abort(
                    Code.INVALID_ARGUMENT, f"the request cannot be decoded as {declaration.input_type}"
                ) from error

        async def decode_each(payloads: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for payload in payloads:
                yield decode_one(payload)

        return decode_each if declaration.cardinality.client_streaming else decode_one


def _link(middleware: Callable[..., Awaitable[Any]], following: Chain) -> Chain:
    return lambda call: middleware(call, following)


def _status_of(error: BaseException, context: Context) -> Abort | None:
    """The status with which a call ends that raised ``error``; None: the error itself passes on."""
    if isinstance(error, Abort | GeneratorExit | KeyboardInterrupt):
        return None
    if isinstance(error, asyncio.CancelledError):
        return _status_of_cancelled(error, context)
    if isinstance(error, UnavailableError):
        _log.warning(CALL_REFUSED, rpc_method=context.method.path, prefix=error.prefix, plugin=error.plugin)
        return Abort(Code.UNAVAILABLE, "the service cannot do this at the moment, for something it needs is down")
    if isinstance(error, ConversionError):
        _log.info(REQUEST_REFUSED, rpc_method=context.method.path, field=error.path, exc_info=error.__cause__ or error)
        field = f"field {error.path!r}" if error.path else "it"
        return Abort(Code.INVALID_ARGUMENT, f"the request does not fit: {field} {error.reason}")
    return _log_failure(error, context)


def _status_of_cancelled(error: BaseException, context: Context) -> Abort | None:
    task = asyncio.current_task()
    if task is None or task.cancelling():
        if error.__cause__ is not None:  # what had failed before the call was cancelled
            _status_of(error.__cause__, context)
        return None
    # Nobody cancelled this call: something that the handler awaited was. As a cancellation
    # it would leave the client without a status.
    return _log_failure(error, context)


def _log_failure(error: BaseException, context: Context) -> Abort:
    error_id = os.urandom(6).hex()
    _log.error(CALL_FAILED, rpc_method=context.method.path, error_id=error_id, exc_info=error)
    return Abort(Code.INTERNAL, f"internal error, id {error_id}")


@attrs.frozen(kw_only=True, eq=False)
class Dispatcher:
    """Every method of a running service, ready to be called."""

    #: By the method's path on the wire, ``/shop.v1.UserService/CreateUser``.
    endpoints: Mapping[str, Endpoint]
    #: In order of definition.
    start_hooks: Sequence[Hook]
    #: In reverse order of definition.
    stop_hooks: Sequence[Hook]
    calls: InFlight
    #: Injects a function's keyword-only parameters at every call, with a scope and a commit of its own.
    #: Raises BindingError.
    bind: Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]

    @property
    def in_flight(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks in which calls are running, their ``finally`` blocks included."""
        return self.calls.tasks

    async def wait_idle(self) -> None:
        """Return as soon as no call is running."""
        await self.calls.wait_idle()
