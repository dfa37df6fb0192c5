from __future__ import annotations

import enum
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional

import attrs
import pytest

from toolkit.plugins import setting
from toolkit.runtime.config.casting import cast_text
from toolkit.runtime.config.value_type import UnsupportedTypeError, ValueType, read_value_type

Port = NewType("Port", int)


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen(kw_only=True)
class Everything:
    text: str = setting("", help="")
    integer: int = setting(1, help="")
    number: float = setting(1.0, help="")
    boolean: bool = setting(False, help="")
    duration: float = setting(1.0, help="", unit="seconds")
    whole_seconds: int = setting(1, help="", unit="seconds")
    delta: timedelta = setting(timedelta(0), help="")
    size: int = setting(1, help="", unit="bytes")
    mode: Mode = setting(Mode.FAST, help="")
    level: Level = setting(Level.LOW, help="")
    choice: Literal["auto", "json"] = setting("auto", help="")
    number_choice: Literal[1, 2] = setting(1, help="")
    path: Path = setting(Path("/"), help="")
    names: list[str] = setting(help="", factory=list)
    ports: tuple[int, ...] = setting((), help="")
    waits: list[timedelta] = setting(help="", factory=list)
    modes: frozenset[Mode] = setting(frozenset(), help="")
    flags: list[bool] = setting(help="", factory=list)
    optional: str | None = setting(None, help="")
    old_optional: Optional[int] = setting(None, help="")  # noqa: UP045 -- the older form is read as well
    annotated: Annotated[int, "a note"] = setting(1, help="")
    port: Port = setting(Port(1), help="")


def type_of(name: str, cls: type[Any] = Everything) -> ValueType:
    return read_value_type(cls, getattr(attrs.fields(cls), name))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("text", " as it is ", " as it is "),
        ("integer", "12", 12),
        ("integer", "-12", -12),
        ("integer", " 12 ", 12),
        ("integer", "12345678901234567890", 12345678901234567890),
        ("number", "1.5", 1.5),
        ("number", "1e3", 1000.0),
        ("duration", "1m30s", 90.0),
        ("duration", "5", 5.0),
        ("whole_seconds", "1m", 60),
        ("whole_seconds", "7", 7),
        ("delta", "500ms", timedelta(milliseconds=500)),
        ("delta", "7", timedelta(seconds=7)),
        ("size", "16MiB", 16 * 1024**2),
        ("size", "10", 10),
        ("mode", "fast", Mode.FAST),
        ("mode", "SAFE", Mode.SAFE),
        ("level", "high", Level.HIGH),
        ("level", "2", Level.HIGH),
        ("choice", "json", "json"),
        ("choice", "JSON", "json"),
        ("number_choice", "2", 2),
        ("path", "/tmp/x y", Path("/tmp/x y")),
        ("names", "a, b ,c", ["a", "b", "c"]),
        ("ports", "1,2", (1, 2)),
        ("ports", "12", (12,)),
        ("waits", "5s,1m", [timedelta(seconds=5), timedelta(minutes=1)]),
        ("modes", "fast,safe,fast", frozenset({Mode.FAST, Mode.SAFE})),
        ("flags", "true,no", [True, False]),
        ("optional", "x", "x"),
        ("old_optional", "3", 3),
        ("annotated", "3", 3),
        ("port", "3", 3),
    ],
)
def test_text_becomes_what_the_annotation_says(name: str, text: str, value: object) -> None:
    """A text is read by its setting's annotation and unit."""
    read = cast_text("NAME", text, type_of(name))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1", "yes", "on", " on "])
def test_words_for_yes_are_true(text: str) -> None:
    """true, 1, yes and on are true, in whatever case."""
    assert cast_text("NAME", text, type_of("boolean")) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "False", "0", "no", "off"])
def test_words_for_no_are_false(text: str) -> None:
    """false, 0, no and off are false, in whatever case."""
    assert cast_text("NAME", text, type_of("boolean")) is False


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("integer", "abc", ""),
        ("integer", "1.5", ""),
        ("integer", "tcp://10.0.0.1:5432", ""),
        ("number", "nan", ""),
        ("number", "inf", ""),
        ("number", "x", ""),
        ("boolean", "y", ""),
        ("boolean", "2", ""),
        ("boolean", "enabled", ""),
        ("duration", "-1s", "a duration is not negative"),
        ("whole_seconds", "500ms", "it is no whole number of seconds"),
        ("size", "16M", "M is ambiguous: write MiB for 1024s or MB for 1000s"),
        ("choice", "jsno", "did you mean json?"),
        ("choice", "zzz", ""),
        ("mode", "fats", "did you mean fast?"),
        ("names", "a,,b", "item 2 is '' (an item is not empty)"),
        ("ports", "1,x", "item 2 is 'x'"),
        ("waits", "5s,6 parsecs", "item 2 is '6 parsecs' (its units are h, m, s, ms, us and ns)"),
        ("text", "caf\udce9", "it is not valid UTF-8"),
        ("names", "caf\udce9", "it is not valid UTF-8"),
    ],
)
def test_text_that_does_not_fit_is_refused(name: str, text: str, hint: str) -> None:
    """A text that its type cannot hold is refused, with a hint where there is one to give."""
    with pytest.raises(ValueError, match=r".*") as caught:
        cast_text("NAME", text, type_of(name))
    assert str(caught.value) == hint


@pytest.mark.parametrize(
    ("name", "shown", "expected"),
    [
        ("text", "text", "text"),
        ("integer", "integer", "an integer"),
        ("number", "number", "a number"),
        ("boolean", "boolean", "true or false"),
        ("duration", "duration", "a duration such as 5s, 1m30s or 500ms"),
        ("delta", "duration", "a duration such as 5s, 1m30s or 500ms"),
        ("size", "size", "a size such as 16MiB"),
        ("path", "path", "a path"),
        ("choice", "auto|json", "one of auto, json"),
        ("mode", "fast|safe", "one of fast, safe"),
        ("level", "LOW|HIGH", "one of LOW, HIGH"),
        ("ports", "list of integer", "a comma-separated list of integers"),
        ("modes", "list of fast|safe", "a comma-separated list of fast, safe"),
    ],
)
def test_a_type_is_named_for_tables_and_for_reports(name: str, shown: str, expected: str) -> None:
    """Every type has a short name, and a phrase that says what a text should be."""
    assert type_of(name).name == shown
    assert type_of(name).expected == expected


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("text", "x", "x"),
        ("optional", None, ""),
        ("boolean", True, "true"),
        ("boolean", False, "false"),
        ("duration", 90.0, "1m30s"),
        ("delta", timedelta(minutes=2), "2m"),
        ("size", 1024, "1KiB"),
        ("mode", Mode.SAFE, "safe"),
        ("level", Level.HIGH, "HIGH"),
        ("ports", (1, 2), "1,2"),
        ("waits", [timedelta(seconds=1)], "1s"),
    ],
)
def test_a_shown_value_is_text_that_is_read_as_the_value(name: str, value: object, shown: str) -> None:
    """What a table shows of a value could be put into the environment."""
    value_type = type_of(name)
    assert value_type.show(value) == shown
    if shown:
        assert cast_text("NAME", shown, value_type) == value


def test_the_environment_of_the_process_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """environs reads the text that it is handed, even where the process has a variable of the name."""
    monkeypatch.setenv("NAME", "13")
    monkeypatch.setenv("NAME_FILE", "/etc/passwd")
    monkeypatch.setenv("item", "14")
    assert cast_text("NAME", "-12", type_of("integer")) == -12
    assert cast_text("NAME", "-12", type_of("ports")) == (-12,)


@attrs.frozen(kw_only=True)
class Unsupported:
    mapping: dict[str, str] = setting(help="", factory=dict)
    either: int | str = setting(1, help="")
    fixed: tuple[int, str] = setting((1, ""), help="")
    nested: list[list[int]] = setting(help="", factory=list)
    seconds: str = setting("", help="", unit="seconds")
    bytes: float = setting(1.0, help="", unit="bytes")
    unknown: Nowhere = setting(None, help="")  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mapping",
            "dict[str, str] is none of: str, int, float, bool, Path, timedelta, an Enum, a Literal, "
            "list/tuple/set/frozenset of one of them, or one of them | None",
        ),
        (
            "either",
            "int | str is none of: str, int, float, bool, Path, timedelta, an Enum, a Literal, "
            "list/tuple/set/frozenset of one of them, or one of them | None",
        ),
        ("fixed", "tuple[int, str] is a tuple of fixed length; write tuple[T, ...]"),
        (
            "nested",
            "list[list[int]] is none of: str, int, float, bool, Path, timedelta, an Enum, a Literal, "
            "list/tuple/set/frozenset of one of them, or one of them | None",
        ),
        ("seconds", "a setting in seconds is annotated float or int or timedelta, not str"),
        ("bytes", "a setting in bytes is annotated int, not float"),
        (
            "unknown",
            "its annotation 'Nowhere' cannot be evaluated in test_value_type.py: name 'Nowhere' is not defined",
        ),
    ],
)
def test_an_annotation_that_no_text_fits_is_refused(name: str, message: str) -> None:
    """An unsupported annotation is named, and one that fails leaves the others readable."""
    with pytest.raises(UnsupportedTypeError) as caught:
        type_of(name, Unsupported)
    assert str(caught.value) == message
