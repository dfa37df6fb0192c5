"""A handler, its middlewares and its arguments, compiled into an endpoint."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import CoroutineType
from typing import Any

from toolkit.runtime.call import Context
from toolkit.runtime.dispatch import Chain, Endpoint, InFlight
from toolkit.runtime.injection.methods import Handler
from toolkit.runtime.injection.middlewares import Middleware
from toolkit.runtime.injection.sources import Injection
from toolkit.runtime.injection.wiring import Arguments, Wiring, obtain
from toolkit.runtime.scope import CallScope

__all__ = ["compile_endpoint", "compile_function"]

Function = Callable[..., Any]


def compile_endpoint(
    handler: Handler,
    middlewares: Sequence[Middleware],
    wiring: Wiring,
    *,
    around: Sequence[Callable[..., Awaitable[Any]]],
    in_flight: InFlight,
) -> Endpoint:
    """The endpoint of a method; whatever is the same for every call is decided here."""
    direct = _compile_direct(handler, wiring)
    streams = handler.method.cardinality.server_streaming
    chain = _compile_handler(handler, direct, wiring, middlewares)
    if middlewares or around:
        # Middlewares see messages, whatever the handler returns.
        chain = (_adopting_each if streams else _adopting)(chain, handler.reply.message_class, handler.reply.adopt)
    for middleware in reversed(middlewares):
        chain = _link(middleware, chain, wiring, handler.method.path)
    return Endpoint(
        declaration=handler.method,
        request_class=handler.request.message_class,
        reply_class=handler.reply.message_class,
        direct=None if middlewares or around or streams else direct,
        chain=chain,
        around=tuple(around),
        adopt=handler.reply.adopt,
        in_flight=in_flight,
        shield=wiring.shield,
    )


def compile_function(function: Function, injection: Injection, wiring: Wiring) -> Callable[..., Awaitable[Any]]:
    """A hook or a plugin's callback with its arguments; each of its calls has a scope and a commit of its own."""
    arguments = wiring.arguments(injection, function=injection.signature.name)
    if arguments.is_static:
        return arguments.apply(function)

    async def call(*args: Any) -> Any:
        scope = CallScope()
        try:
            result = await function(*args, **await arguments.make(scope))
            await scope.leave(None)
            await scope.commit(wiring.shield, None)
        except BaseException as error:
            await scope.roll_back(wiring.shield, error)
            raise
        return result

    return call


def _compile_direct(handler: Handler, wiring: Wiring) -> Callable[[Any, Context], Any] | None:
    """``(request, context)`` to what the handler gives; None if something has to be made for each call."""
    arguments = wiring.arguments(handler.injection, rpc_method=handler.method.path)
    function = handler.function
    if handler.receiver is not None:
        if handler.receiver.per_call or not wiring.arguments(handler.receiver.injection).is_static:
            return None
        function = getattr(wiring.singleton(handler.receiver), handler.attribute)
    if not arguments.is_static:
        return None
    applied = arguments.apply(function)
    convert = _converter(handler)
    if convert is None:
        return applied if handler.wants_context else lambda request, _context: applied(request)
    if handler.wants_context:
        return lambda request, context: applied(convert(request), context)
    return lambda request, _context: applied(convert(request))


def _compile_handler(
    handler: Handler, direct: Callable[[Any, Context], Any] | None, wiring: Wiring, middlewares: Sequence[Middleware]
) -> Chain:
    streams = handler.method.cardinality.server_streaming
    if direct is not None:
        if not streams:
            return lambda context: direct(context.request, context)

        async def start_directly(context: Context) -> Any:
            return direct(context.request, context)

        return start_directly
    return _compile_with_scope(handler, wiring, middlewares)


def _compile_with_scope(handler: Handler, wiring: Wiring, middlewares: Sequence[Middleware]) -> Chain:
    """Makes what the call needs and calls the handler: gives its reply or its async generator."""
    arguments = wiring.arguments(handler.injection, rpc_method=handler.method.path)
    convert = _converter(handler)
    receive = _compile_receiver(handler, wiring)
    function, wants_context = handler.function, handler.wants_context

    streams = handler.method.cardinality.server_streaming
    if receive is None and convert is None and wants_context and not streams and not arguments.needs:
        return _compile_plain(arguments.apply(function), arguments.getters(alone=not middlewares))

    async def call(context: Context) -> Any:
        scope = context._scope
        called = function if receive is None else await receive(scope)
        values = await arguments.make(scope)
        request = context.request if convert is None else convert(context.request)
        result = called(request, context, **values) if wants_context else called(request, **values)
        return result if streams else await result

    return call


def _compile_plain(function: Function, getters: Sequence[tuple[str, Callable[[CallScope], Any]]]) -> Chain:
    """What most methods with a call-scoped view are: :meth:`Arguments.make` written out, which spares a coroutine."""

    async def call(context: Context) -> Any:
        scope, values = context._scope, {}
        for name, get in getters:
            value = get(scope)
            values[name] = await value if type(value) is CoroutineType else value
        return await function(context.request, context, **values)

    return call


def _compile_receiver(handler: Handler, wiring: Wiring) -> Callable[[CallScope], Awaitable[Function]] | None:
    """Gives the method of an implementation's instance; None where a function of its own is called."""
    receiver, attribute = handler.receiver, handler.attribute
    if receiver is None:
        return None
    if receiver.per_call:
        maker = wiring.maker(receiver)

        async def make(scope: CallScope) -> Function:
            method: Function = getattr(await obtain(maker, scope), attribute)
            return method

        return make
    bound: Function = getattr(wiring.singleton(receiver), attribute)
    needs: Arguments = wiring.arguments(receiver.injection)

    async def check(scope: CallScope) -> Function:
        await needs.make(scope)
        return bound

    return check


def _converter(handler: Handler) -> Callable[[Any], Any] | None:
    convert = handler.request.convert
    if convert is None or not handler.method.cardinality.client_streaming:
        return convert

    async def convert_each(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            yield convert(message)

    return convert_each


def _adopting(chain: Chain, cls: type, adopt: Callable[[Any], Any]) -> Chain:
    async def call(context: Context) -> Any:
        reply = await chain(context)
        return reply if type(reply) is cls else adopt(reply)

    return call


def _adopting_each(chain: Chain, cls: type, adopt: Callable[[Any], Any]) -> Chain:
    async def adopt_each(replies: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for reply in replies:
            yield reply if type(reply) is cls else adopt(reply)

    async def call(context: Context) -> Any:
        replies = await chain(context)
        adopted = adopt_each(replies)
        # Closed by dispatch when the call ends, however the middlewares handle what they are given.
        context._scope.follow(replies, adopted)
        return adopted

    return call


def _link(middleware: Middleware, following: Chain, wiring: Wiring, path: str) -> Chain:
    arguments = wiring.arguments(middleware.injection, rpc_method=path, middleware=middleware.name)
    if arguments.is_static:
        return functools.partial(_call_next, arguments.apply(middleware.function), following)
    function = middleware.function

    async def link(call: Context) -> Any:
        return await function(call, following, **await arguments.make(call._scope))

    return link


def _call_next(function: Function, following: Chain, call: Context) -> Any:
    return function(call, following)
