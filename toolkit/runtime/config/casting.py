"""Text to typed values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from toolkit.runtime.config.value_type import ValueType

__all__ = ["cast_text"]

_NOT_PLAIN: Final = object()
#: With no more digits than these a number is in every unit's range.
_MOST_DIGITS: Final = 9


def cast_text(name: str, text: str, value_type: ValueType) -> Any:
    """The value that ``text``, which is not empty, has as ``value_type``.

    Raises:
        ValueError: it has none; the message is a hint, possibly empty, that may repeat parts of the text.
    """
    if value_type.kind in ("text", "path", "list") and not _is_utf8(text):
        raise ValueError("it is not valid UTF-8")
    value = _plain(text, value_type)
    if value is not _NOT_PLAIN:
        return value
    # environs brings marshmallow, whose import would be the largest part of a lean service's
    # start: it is not paid for a text that is its own value.
    from toolkit.runtime.config.text_reader import TextReader

    return TextReader({name: text}).read(name, value_type)


def _plain(text: str, value_type: ValueType) -> Any:
    if value_type.kind == "text":
        return text
    if value_type.kind == "choice":
        return value_type.choices.get(text, _NOT_PLAIN)
    if value_type.kind in ("integer", "size", "duration") and _is_plain_number(text):
        number = int(text)
        return timedelta(seconds=number) if value_type.python is timedelta else value_type.python(number)
    return _NOT_PLAIN


def _is_plain_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _is_utf8(text: str) -> bool:
    # The interpreter keeps undecodable bytes of the environment as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)
