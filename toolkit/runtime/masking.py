"""Keep secrets out of causes: an error's text is shown only with every known secret blotted out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from toolkit.plugins import setting_info

__all__ = ["MASK", "describe_cause", "secrets_of"]

MASK = "***"
#: A cause is one line of a report; a driver's longer text is cut here (characters).
_LONGEST_CAUSE = 400
#: Blotting out shorter values would garble ordinary words and tell what it hides.
_SHORTEST_SECRET = 3


def secrets_of(config: Any) -> frozenset[str]:
    """Every text that must not be shown of a config object: its secret settings, and a DSN's password."""
    found: set[str] = set()
    for field in attrs.fields(type(config)):
        value = getattr(config, field.name)
        if setting_info(field).secret and isinstance(value, str) and value:
            found.add(value)
            found.update(_password_of(value))
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def _password_of(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    try:
        password = urlsplit(text).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)


def describe_cause(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """The error as one line without secrets, e.g. ``ConnectionRefusedError: connect call failed``."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, MASK)
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 1] + "…"
