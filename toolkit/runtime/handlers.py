"""Load the named modules and pick out what they mark as the service's own; there is no global registry."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import attrs

from toolkit.errors import Problem
from toolkit.manifest.names import nearest
from toolkit.runtime.injection.signature import locate, shorten_path
from toolkit.runtime.marks import hook_kind, is_component, middleware_mark
from toolkit.runtime.service import Service
from toolkit.runtime.settings import is_settings

__all__ = ["HandlerSet", "load_handlers"]

Function = Callable[..., Any]


@attrs.frozen(kw_only=True, eq=False)
class HandlerSet:
    """What handler modules define, each thing once, in the order of definition."""

    services: tuple[Service, ...] = ()
    #: By the name under which the manifest refers to them.
    middlewares: Mapping[str, Function] = attrs.field(factory=dict)
    components: tuple[type, ...] = ()
    on_start: tuple[Function, ...] = ()
    on_stop: tuple[Function, ...] = ()
    settings: frozenset[type] = frozenset()
    problems: tuple[Problem, ...] = ()
    #: False when a module could not be imported, so that something may be missing.
    complete: bool = True


def load_handlers(modules: Sequence[str | ModuleType]) -> HandlerSet:
    """Import the modules and gather their services, middlewares, components, hooks and settings.

    Never raises for what a module does: one that is missing or fails at import is a problem.
    """
    problems: list[Problem] = []
    found: dict[int, Any] = {}
    for item in modules:
        module = item if isinstance(item, ModuleType) else _import(item, problems)
        if module is not None:
            found.update((id(value), value) for value in tuple(vars(module).values()))
    complete = not problems
    values = list(found.values())
    return HandlerSet(
        services=tuple(value for value in values if isinstance(value, Service)),
        middlewares=_by_name(values, problems),
        components=tuple(value for value in values if is_component(value)),
        on_start=tuple(value for value in values if hook_kind(value) == "on_start"),
        on_stop=tuple(value for value in values if hook_kind(value) == "on_stop"),
        settings=frozenset(value for value in values if is_settings(value)),
        problems=tuple(problems),
        complete=complete,
    )


def _by_name(values: Sequence[Any], problems: list[Problem]) -> dict[str, Function]:
    named: dict[str, Function] = {}
    for value in values:
        mark = middleware_mark(value)
        if mark is None:
            continue
        first = named.setdefault(mark.name, value)
        if first is not value:
            problems.append(
                Problem(
                    code="binding.duplicate_middleware",
                    where=f"{locate(value)} {value.__name__}",
                    what=f"there is another middleware named {mark.name!r}",
                    why=f"the manifest refers to middlewares by name; the other is {locate(first)} {first.__name__}",
                    fix='rename one of them, or give it a name of its own: @middleware(name="…")',
                )
            )
    return named


def _import(name: str, problems: list[Problem]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and f"{name}.".startswith(f"{missing}."):
            problems.append(_not_found(name, missing))
        else:
            problems.append(_failed(name, error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a user's module raises is reported
        problems.append(_failed(name, error))
    return None


def _not_found(name: str, missing: str) -> Problem:
    import pkgutil  # for reports alone

    parent, _, last = missing.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None)
    meant = nearest(last, [item.name for item in pkgutil.iter_modules(path)]) if path else None
    here = sys.path[0] or "."
    return Problem(
        code="binding.module_not_found",
        what=f"the handler module {name!r} cannot be found: there is no {missing!r}",
        why=f"the package {parent!r} has none" if path else f"Python searched {here} and what is installed",
        fix=f"did you mean {parent}.{meant}?" if meant else "correct the name, or start where it can be imported",
    )


def _failed(name: str, error: BaseException) -> Problem:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    missing = isinstance(error, ModuleNotFoundError)
    return Problem(
        code="binding.import_failed",
        where=_user_line(error),
        what=f"the handler module {name!r} failed at its import: {text}",
        fix=f"install {error.name!r}" if missing and isinstance(error, ImportError) and error.name else "",
    )


def _user_line(error: BaseException) -> str:
    """``users.py:3``: the innermost line of the user's own code in the traceback."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{os.path.basename(error.filename)}:{error.lineno}"
    lines = list(_user_lines(error))
    return lines[-1] if lines else ""


def _user_lines(error: BaseException) -> Iterator[str]:
    import sysconfig  # these two are for reports alone
    import traceback

    libraries = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    foreign = (os.path.dirname(os.path.dirname(__file__)), "<frozen", *libraries)
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith(foreign):
            yield f"{shorten_path(file, frame.f_globals.get('__name__', ''))}:{line}"
