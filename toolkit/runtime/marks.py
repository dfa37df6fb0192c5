"""Marks that make a class or function of a handler module part of the service; no mark registers anything globally."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

import attrs

__all__ = [
    "MiddlewareMark",
    "Named",
    "component",
    "hook_kind",
    "is_component",
    "middleware",
    "middleware_mark",
    "on_start",
    "on_stop",
]

ClassT = TypeVar("ClassT", bound=type)
MiddlewareT = TypeVar("MiddlewareT", bound=Callable[..., Awaitable[Any]])
HookT = TypeVar("HookT", bound=Callable[..., Awaitable[Any]])

_COMPONENT: Final = "__toolkit_component__"
_MIDDLEWARE: Final = "__toolkit_middleware__"
_HOOK: Final = "__toolkit_hook__"


@attrs.frozen(repr=False)
class Named:
    """``Annotated[Redis, Named("session_cache")]``: the prefix, where the parameter can't carry it as its name."""

    prefix: str

    def __repr__(self) -> str:
        return f"Named({self.prefix!r})"


@attrs.frozen(kw_only=True, eq=False)
class MiddlewareMark:
    """What :func:`middleware` was told."""

    #: The name under which the manifest refers to it.
    name: str
    #: Whether it runs on every method; otherwise only where the manifest names it.
    everywhere: bool


def component(cls: ClassT) -> ClassT:
    """Make a class injectable by its type: a repository, a client of something, a controller.

    Every parameter of its constructor is injected by the rules that hold for handlers.
    It is built once, at the start; one that takes a call-scoped view (``AsyncSession``),
    or a ``T | None`` that may change from call to call, directly or through another
    component, is built for every call. ``__aenter__`` and ``__aexit__`` are awaited when
    the class has them.
    """
    if not isinstance(cls, type):
        raise TypeError(f"@component marks a class, not {cls!r}")
    setattr(cls, _COMPONENT, True)
    return cls


def is_component(cls: object) -> bool:
    """Whether ``cls`` itself was marked with :func:`component` (a subclass is marked anew)."""
    return isinstance(cls, type) and _COMPONENT in vars(cls)


@overload
def middleware(function: MiddlewareT, /) -> MiddlewareT: ...


@overload
def middleware(*, name: str) -> Callable[[MiddlewareT], MiddlewareT]: ...


def middleware(
    function: MiddlewareT | None = None, /, *, name: str = ""
) -> MiddlewareT | Callable[[MiddlewareT], MiddlewareT]:
    """Run ``async def f(call, next, *, …)`` around the handlers.

    ``@middleware`` runs on every method, in the order of definition; a method's route
    leaves it out by its function's name (``exclude_global_middlewares``).
    ``@middleware(name="audit")`` runs where the manifest names it. ``await next(call)``
    gives the reply message, or the async iterator of replies where the method streams them.
    """

    def mark(target: MiddlewareT) -> MiddlewareT:
        if not inspect.isfunction(target):
            raise TypeError(f"@middleware marks a function, not {target!r}")
        chosen = MiddlewareMark(name=name or target.__name__, everywhere=not name)
        setattr(target, _MIDDLEWARE, chosen)
        return target

    return mark if function is None else mark(function)


def middleware_mark(function: object) -> MiddlewareMark | None:
    """The mark of a middleware, or None."""
    found: MiddlewareMark | None = vars(function).get(_MIDDLEWARE) if inspect.isfunction(function) else None
    return found


def on_start(function: HookT) -> HookT:
    """Await the function, injected, after the plugins have started and before the first call; in order of definition.

    Call-scoped views are committed when it returns, and rolled back when it raises.
    """
    return _mark_hook(function, "on_start")


def on_stop(function: HookT) -> HookT:
    """Await the function, injected, after the last call and before the plugins stop; in reverse order of definition."""
    return _mark_hook(function, "on_stop")


def hook_kind(function: object) -> str:
    """``on_start``, ``on_stop``, or an empty text for what is no hook."""
    return str(vars(function).get(_HOOK, "")) if inspect.isfunction(function) else ""


def _mark_hook(function: HookT, kind: str) -> HookT:
    if not inspect.isfunction(function):
        raise TypeError(f"@{kind} marks a function, not {function!r}")
    setattr(function, _HOOK, kind)
    return function
