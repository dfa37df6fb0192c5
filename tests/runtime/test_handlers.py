"""Handler modules are imported and searched; what goes wrong is a report with the user's line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from toolkit.runtime.handlers import load_handlers

WriteModule = Callable[..., ModuleType]


def test_everything_is_found_once_and_in_order(module: WriteModule) -> None:
    """Marked things are found by being in a module, each once, however many modules and names lead to it."""
    first = module(
        """
        @settings
        class Limits:
            users: int = 3

        @component
        class Repository: ...

        @component
        class Derived(Repository): ...

        class Unmarked(Repository): ...

        @on_start
        async def one(): ...

        @on_start
        async def two(): ...

        @on_stop
        async def three(): ...

        @middleware
        async def first(call, next): ...

        @middleware(name="named")
        async def second(call, next): ...

        again = one
        """
    )
    second = module("from users import *\nother = Service('shop.v1.Other')\n", "more")
    found = load_handlers([first, "more", first])
    assert found.problems == ()
    assert found.complete
    assert found.services == (first.users, second.other)
    assert list(found.middlewares) == ["first", "named"]
    assert found.components == (first.Repository, first.Derived)
    assert found.on_start == (first.one, first.two)
    assert found.on_stop == (first.three,)
    assert found.settings == {first.Limits}


def test_two_middlewares_of_one_name_are_refused(module: WriteModule) -> None:
    """The manifest refers to middlewares by name, so that a name has to mean one."""
    found = load_handlers(
        [
            module(
                """
                @middleware
                async def note(call, next): ...

                @middleware(name="note")
                async def other(call, next): ...
                """
            )
        ]
    )
    assert found.complete
    assert [str(problem) for problem in found.problems] == [
        """\
users.py:14 other: there is another middleware named 'note'
    the manifest refers to middlewares by name; the other is users.py:11 note
  → rename one of them, or give it a name of its own: @middleware(name="…")"""
    ]


def problem_of(name: str) -> str:
    found = load_handlers([name])
    assert not found.complete
    (problem,) = found.problems
    return str(problem)


def test_a_module_that_does_not_exist(module_folder: Path) -> None:
    """The report says what was looked for and where; in a package it names the nearest."""
    assert (
        problem_of("no_such_module")
        == f"""\
the handler module 'no_such_module' cannot be found: there is no 'no_such_module'
    Python searched {sys.path[0]} and what is installed
  → correct the name, or start where it can be imported"""
    )
    package = module_folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "handlers.py").touch()
    assert (
        problem_of("shop.handlrs")
        == """\
the handler module 'shop.handlrs' cannot be found: there is no 'shop.handlrs'
    the package 'shop' has none
  → did you mean shop.handlers?"""
    )


def test_a_module_that_needs_what_is_not_installed(module_folder: Path) -> None:
    """A missing import inside of the module is told apart from a missing module."""
    (module_folder / "needy.py").write_text("import os\n\nimport not_installed.thing\n")
    assert (
        problem_of("needy")
        == """\
needy.py:3: the handler module 'needy' failed at its import: ModuleNotFoundError: No module named 'not_installed'
  → install 'not_installed'"""
    )


def test_a_module_that_raises(module_folder: Path) -> None:
    """An error at import is reported with the innermost line that the user wrote."""
    package = module_folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("import json\n\ndef load():\n    return json.loads('{')\n")
    (package / "handlers.py").write_text("from shop.parts import load\n\nload()\n")
    assert problem_of("shop.handlers") == (
        "shop/parts.py:4: the handler module 'shop.handlers' failed at its import: JSONDecodeError: "
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )
    (package / "named.py").write_text("from toolkit import Service\n\nusers = Service('not a name')\n")
    assert problem_of("shop.named") == (
        "shop/named.py:3: the handler module 'shop.named' failed at its import: ValueError: "
        "Service takes the full name of a service, such as \"shop.v1.Users\", not 'not a name'"
    )


def test_a_module_that_does_not_parse(module_folder: Path) -> None:
    """A syntax error is reported at its line."""
    (module_folder / "broken.py").write_text("x = 1\ndef f(:\n")
    assert problem_of("broken") == (
        "broken.py:2: the handler module 'broken' failed at its import: SyntaxError: invalid syntax (broken.py, line 2)"
    )


def test_a_module_that_exits(module_folder: Path) -> None:
    """A script that exits at import does not take the process with it."""
    (module_folder / "script.py").write_text("import sys\nsys.exit(3)\n")
    assert problem_of("script") == "script.py:2: the handler module 'script' failed at its import: SystemExit: 3"


def test_other_modules_are_loaded_all_the_same(module: WriteModule) -> None:
    """One module that fails hides nothing of the others."""
    module("")
    found = load_handlers(["no_such_module", "users"])
    assert len(found.problems) == 1
    assert len(found.services) == 1
