"""Durations and sizes as people write them, to numbers and back."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["UnitError", "parse_duration", "parse_size", "show_duration", "show_size"]

#: Nanoseconds in each unit of Go's ``time.ParseDuration`` (https://pkg.go.dev/time#ParseDuration).
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
#: Nanoseconds and bytes: Go keeps both in 64 bits, so no larger one can have been meant.
_LONGEST: Final = 2**63 - 1

#: Enough for any number with a unit; int() and float() of more digits fail in their own ways.
_LONGEST_TEXT: Final = 64

_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PLAIN: Final = re.compile(_NUMBER)
_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_SIZE: Final = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.IGNORECASE)

#: Bytes in each unit, by its spelling in lower case: IEC (1024), SI (1000), and the IEC forms of Kubernetes.
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SHOWN_BYTES: Final = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


class UnitError(ValueError):
    """The text is no duration or size; the message is a hint that never repeats the text."""


def parse_duration(text: str) -> float:
    """Seconds: a plain number of them, or Go's form (``1m30s``, ``500ms``, ``1.5h``).

    Raises:
        UnitError: it is neither, or it is negative or longer than 292 years.
    """
    text = text.strip()
    if text.startswith("-"):
        raise UnitError("a duration is not negative")
    if len(text) > _LONGEST_TEXT:
        raise UnitError("a duration is at most 292 years")
    if _PLAIN.fullmatch(text):
        nanoseconds = float(text) * 1e9
    elif _DURATION.fullmatch(text):
        nanoseconds = sum(float(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text))
    else:
        raise UnitError("its units are h, m, s, ms, us and ns")
    if nanoseconds > _LONGEST:
        raise UnitError("a duration is at most 292 years")
    return nanoseconds / 1e9


def show_duration(seconds: float) -> str:
    """A text that :func:`parse_duration` reads as ``seconds``, to the nanosecond: ``1m30s``, ``1.5s``, ``500ms``."""
    hours, rest = divmod(round(seconds * 1e9), _NANOSECONDS["h"])
    minutes, rest = divmod(rest, _NANOSECONDS["m"])
    shown = f"{hours}h" * bool(hours) + f"{minutes}m" * bool(minutes)
    if not rest:
        return shown or "0s"
    # Whole minutes are followed by seconds; a short duration alone has the unit that suits it.
    units = ("s",) if shown else ("s", "ms", "us", "ns")
    unit = next(unit for unit in units if rest >= _NANOSECONDS[unit] or unit == units[-1])
    whole, part = divmod(rest, _NANOSECONDS[unit])
    digits = len(str(_NANOSECONDS[unit])) - 1
    fraction = f".{part:0{digits}d}".rstrip("0") if part else ""
    return f"{shown}{whole}{fraction}{unit}"


def parse_size(text: str) -> int:
    """Bytes: a plain number of them, or one with a unit (``16MiB`` and ``16Mi`` of 1024, ``16MB`` of 1000).

    Raises:
        UnitError: it is neither, it is negative, no whole number of bytes, or its unit is ambiguous.
    """
    text = text.strip()
    if text.startswith("-"):
        raise UnitError("a size is not negative")
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > _LONGEST_TEXT:
        raise UnitError("its units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB")
    number, unit = match.groups()
    factor = _BYTES.get(unit.lower())
    if factor is None:
        letter = unit.upper()
        if letter in ("K", "M", "G", "T"):
            decimal = "k" if letter == "K" else letter
            raise UnitError(f"{letter} is ambiguous: write {letter}iB for 1024s or {decimal}B for 1000s")
        raise UnitError("its units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB")
    size = int(number) * factor if number.isdecimal() else float(number) * factor
    if size > _LONGEST:
        raise UnitError("a size is less than 8 EiB")
    if size != int(size):
        raise UnitError("it is no whole number of bytes")
    return int(size)


def show_size(size: int) -> str:
    """A text that :func:`parse_size` reads as ``size``, in the largest unit that divides it."""
    for unit, factor in _SHOWN_BYTES:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
