"""Secrets: read from the files that variables name, masked, and kept out of other people's messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, unquote_plus

__all__ = ["MASK", "mask_credentials", "quote", "read_secret_file", "repeats_secret", "strip_newline"]

#: Stands for every secret, whatever its length.
MASK: Final = "****"

#: A secret is a line or a key, and no log that someone named by mistake.
_LARGEST_FILE: Final = 1024 * 1024
_LONGEST_SHOWN: Final = 80
#: A shorter fragment of a secret proves nothing: it is in every sentence.
_SHORTEST_FRAGMENT: Final = 3
_CREDENTIALS: Final = re.compile(r"//\S*@")
_DELIMITERS: Final = re.compile(r"[:/@?#&=;,\s]+")
#: Query parameters of a URL that hold credentials.
_SECRET_PARAMETER: Final = re.compile(r"[?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=([^&]+)", re.IGNORECASE)


def read_secret_file(path: str) -> str:
    """The text of the file at ``path``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than 1 MiB, no UTF-8, or no file could have the name.
    """
    with open(path, "rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is larger than 1 MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        # The original message quotes a byte of the secret.
        raise ValueError("it is not UTF-8 text") from None


def strip_newline(text: str) -> str:
    """Without the one newline that editors and ``echo`` put at a file's end."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def mask_credentials(text: str) -> str:
    """``text`` without the user and password of a URL in it: who puts a DSN into HOST still put a secret there."""
    return _CREDENTIALS.sub(f"//{MASK}@", text)


def quote(text: str) -> str:
    """``text`` between quotes on one line, without credentials, cut where it is long."""
    shown = repr(mask_credentials(text))
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def repeats_secret(message: str, secrets: Iterable[str]) -> bool:
    """Whether a message that someone else wrote holds a secret, or a telling part of one."""
    # The message may be encoded as a URL is, or hold a form that is.
    readings = {message, unquote(message), unquote_plus(message)}
    return any(form in reading for secret in secrets for form in _forms(secret) for reading in readings)


def _forms(secret: str) -> set[str]:
    forms = _spellings(secret)
    for part in _credentials(secret):
        forms |= _spellings(part)
        for form in (part, unquote(part), unquote_plus(part)):
            # A URL library that cut a malformed URL at the wrong place quotes a piece of it.
            forms.update(piece for piece in _DELIMITERS.split(form) if len(piece) >= _SHORTEST_FRAGMENT)
    return {form for form in forms if form}


def _spellings(secret: str) -> set[str]:
    decoded = {secret, secret.strip(), unquote(secret), unquote_plus(secret)}
    return {spelling for text in decoded for spelling in (text, repr(text)[1:-1], json.dumps(text)[1:-1])}


def _credentials(secret: str) -> list[str]:
    """What of a URL is secret: its password and the like. Host, port and database are not."""
    _, scheme_end, rest = secret.partition("//")
    if not scheme_end:
        return []
    parts: list[str] = _SECRET_PARAMETER.findall(rest)
    if "@" in rest:
        # A password that should have been encoded may itself hold a @ or a /.
        userinfo = rest.rpartition("@")[0]
        parts.append(userinfo.partition(":")[2] or userinfo)
    return parts
