"""What a function or a constructor asks for, read once; and how that is drawn in a report."""

from __future__ import annotations

import functools
import inspect
import linecache
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal

import attrs

from toolkit.runtime.marks import Named

__all__ = [
    "ABSENT",
    "Kind",
    "Parameter",
    "Signature",
    "draw_type",
    "kind_of",
    "locate",
    "read_class",
    "read_function",
    "strip_annotation",
]

#: The namespaces in which an annotation is evaluated: the module's, and what a function closes over.
_Scope = tuple[dict[str, Any], dict[str, Any]]

#: No annotation, or no value.
ABSENT: Final = inspect.Parameter.empty

Kind = Literal["coroutine", "async generator", "sync"]


@attrs.frozen(kw_only=True, eq=False)
class Parameter:
    """One parameter with its annotation evaluated."""

    name: str
    #: The evaluated annotation without ``Annotated`` and ``| None``; ABSENT where there is none.
    wanted: Any
    #: Whether the annotation admits None.
    optional: bool
    #: The prefix that ``Annotated[T, Named(...)]`` carries.
    named: str | None
    has_default: bool
    #: As written: ``sesions: Redis``.
    text: str
    #: Why the annotation does not evaluate; empty when it does.
    failure: str = ""
    keyword_only: bool = True
    positional_only: bool = False

    @property
    def is_free(self) -> bool:
        """Whether the annotation says nothing: none at all, ``Any`` or ``object``."""
        return self.wanted in (ABSENT, Any, object)


@attrs.frozen(kw_only=True, eq=False)
class Signature:
    """A function's or a constructor's parameters."""

    #: ``create_user``, ``UserServer.create_user`` or, for a constructor, the class's name.
    name: str
    #: Where it is defined; read for reports alone.
    source: Any
    positional: tuple[Parameter, ...]
    #: Every parameter that is injected.
    injected: tuple[Parameter, ...]
    #: The evaluated return annotation; ABSENT where there is none, or none that evaluates.
    returns: Any = ABSENT
    #: ``*args``, which nothing can be injected into.
    has_varargs: bool = False

    def draw(self, parameter: Parameter | None = None) -> str:
        """``users.py:14 create_user(*, sesions: Redis)``, for reports."""
        if parameter is None:
            return f"{locate(self.source)} {self.name}"
        star = "*, " if parameter.keyword_only else ""
        return f"{locate(self.source)} {self.name}({star}{parameter.text})"


def kind_of(function: Callable[..., Any]) -> Kind:
    """What a call of ``function`` gives: a coroutine, an async generator, or a value at once.

    A decorator's plain wrapper counts as the function that it wraps.
    """
    for candidate in (function, inspect.unwrap(function)):
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
    return "sync"


def read_function(function: Callable[..., Any], *, name: str = "", skip_self: bool = False) -> Signature:
    """The signature of a function; with ``skip_self`` that of a method as its instance has it."""
    plain = _plain(function)
    parameters = list(inspect.signature(function).parameters.values())[1 if skip_self else 0 :]
    scope = _scope_of(plain)
    read = [(item, _read(item.name, item.annotation, item, scope)) for item in parameters]
    returns = inspect.get_annotations(plain).get("return", ABSENT) if callable(plain) else ABSENT
    evaluated, failure = _evaluate("return", returns, scope)
    return Signature(
        name=name or getattr(plain, "__name__", type(function).__name__),
        source=plain,
        positional=tuple(done for item, done in read if item.kind in _POSITIONAL),
        injected=tuple(done for item, done in read if item.kind is inspect.Parameter.KEYWORD_ONLY),
        returns=ABSENT if failure else evaluated,
        has_varargs=any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters),
    )


def read_class(cls: type) -> Signature:
    """The signature of a class's constructor, every parameter of which is injected."""
    init: Any = vars(cls).get("__init__") or cls.__init__  # type: ignore[misc]  # it is read, not called
    parameters = [] if init is object.__init__ else list(inspect.signature(init).parameters.values())[1:]
    generated = attrs.has(cls) or "__dataclass_fields__" in vars(cls)
    scope = _scope_of(_plain(init))
    fields = {field.alias: field.name for field in attrs.fields(cls)} if attrs.has(cls) else {}
    injected = []
    for item in parameters:
        if item.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        annotation, namespace = item.annotation, scope
        if generated:
            annotation, namespace = _field_annotation(cls, fields.get(item.name, item.name), annotation, scope)
        injected.append(_read(item.name, annotation, item, namespace))
    return Signature(name=cls.__name__, source=cls, positional=(), injected=tuple(injected))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    unwrapped = inspect.unwrap(function)
    return unwrapped.__func__ if inspect.ismethod(unwrapped) else unwrapped


def _scope_of(function: Any) -> _Scope:
    closure: dict[str, Any] = {}
    for name, cell in zip(
        getattr(getattr(function, "__code__", None), "co_freevars", ()),
        getattr(function, "__closure__", None) or (),
        strict=False,
    ):
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return getattr(function, "__globals__", {}), closure


def _field_annotation(cls: type, name: str, annotation: Any, scope: _Scope) -> tuple[Any, _Scope]:
    """The annotation of a field from which attrs or dataclasses made the constructor, and where to evaluate it.

    Their ``__init__`` lives in a namespace of its own, and a field may come from a class of another module.
    """
    for owner in cls.__mro__:
        if name in inspect.get_annotations(owner):
            module = sys.modules.get(owner.__module__)
            return inspect.get_annotations(owner)[name], (vars(module) if module else {}, {})
    return annotation, scope


def _read(name: str, annotation: Any, item: inspect.Parameter, scope: _Scope) -> Parameter:
    evaluated, failure = _evaluate(name, annotation, scope)
    wanted, optional, named = strip_annotation(evaluated)
    text = name if annotation is ABSENT else f"{name}: {draw_type(annotation)}"
    if item.default is not ABSENT:
        text += f" = {item.default!r}" if item.default is None or isinstance(item.default, int) else " = …"
    return Parameter(
        name=name,
        wanted=wanted,
        optional=optional,
        named=named,
        has_default=item.default is not ABSENT,
        text=text,
        failure=failure,
        keyword_only=item.kind is inspect.Parameter.KEYWORD_ONLY,
        positional_only=item.kind is inspect.Parameter.POSITIONAL_ONLY,
    )


class _Holder:
    """Carries one annotation at a time to ``typing.get_type_hints``."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def _evaluate(name: str, annotation: Any, scope: _Scope) -> tuple[Any, str]:
    if annotation is ABSENT or annotation is None:
        return annotation, ""
    if not isinstance(annotation, str) and not typing.get_args(annotation):
        return annotation, ""
    holder: Any = _Holder({name: annotation})
    try:
        return typing.get_type_hints(holder, *scope, include_extras=True)[name], ""
    except Exception as error:  # noqa: BLE001 -- a string that the user wrote: whatever it raises is reported
        return ABSENT, f"{type(error).__name__}: {error}"


def strip_annotation(annotation: Any) -> tuple[Any, bool, str | None]:
    """Strip ``Annotated`` and ``| None``, in either order, from an annotation."""
    named: str | None = None
    optional = False
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            marks = [mark for mark in annotation.__metadata__ if isinstance(mark, Named)]
            named = marks[0].prefix if marks else named
            annotation = annotation.__origin__
        elif origin in (typing.Union, types.UnionType) and type(None) in typing.get_args(annotation):
            optional = True
            rest = [member for member in typing.get_args(annotation) if member is not type(None)]
            annotation = functools.reduce(lambda left, right: left | right, rest)
        else:
            return annotation, optional, named


def draw_type(annotation: Any) -> str:
    """An annotation as people write it: ``Redis | None``, ``async_sessionmaker[AsyncSession]``."""
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    arguments = typing.get_args(annotation)
    if not arguments:
        return str(getattr(annotation, "__name__", None) or repr(annotation))
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        marks = ", ".join(map(repr, annotation.__metadata__))
        return f"Annotated[{draw_type(arguments[0])}, {marks}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(draw_type, arguments))
    inner = ", ".join("..." if item is ... else _draw_argument(item) for item in arguments)
    return f"{draw_type(origin)}[{inner}]"


def _draw_argument(argument: Any) -> str:
    if isinstance(argument, list):
        return f"[{', '.join(map(draw_type, argument))}]"
    return draw_type(argument)


def locate(source: Any) -> str:
    """``users.py:14``: the file as its module's name leads to it, and the line of ``def`` or ``class``."""
    module = getattr(source, "__module__", None) or ""
    code = getattr(source, "__code__", None)
    if code is not None:
        line = _line_of(code.co_filename, code.co_firstlineno, "def", code.co_name)
        return f"{shorten_path(code.co_filename, module)}:{line}"
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module or repr(source)
    line = _line_of(file, 1, "class", getattr(source, "__name__", ""))
    return f"{shorten_path(file, module)}:{line}"


def shorten_path(file: str, module: str) -> str:
    """The end of a file's path that its module's name accounts for: ``shop/users.py``."""
    parts = file.replace("\\", "/").split("/")
    depth = module.count(".") + (2 if parts[-1] == "__init__.py" else 1)
    return "/".join(parts[-depth:])


def _line_of(file: str, first: int, keyword: str, name: str) -> int:
    """The line on which ``name`` is defined, at or after ``first``, where its decorators begin."""
    pattern = re.compile(rf"\s*(async\s+)?{keyword}\s+{re.escape(name)}\b")
    for number, line in _lines_from(file, first):
        if pattern.match(line):
            return number
    return first


def _lines_from(file: str, first: int) -> Iterator[tuple[int, str]]:
    return enumerate(linecache.getlines(file)[first - 1 :], first)
