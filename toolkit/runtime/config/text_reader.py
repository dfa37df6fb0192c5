"""Text to typed values, by environs; imported by ``casting`` where a text needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from environs import Env, EnvValidationError, ValidationError

from toolkit.manifest.names import nearest
from toolkit.runtime.config.units import UnitError, parse_duration, parse_size
from toolkit.runtime.config.value_type import ValueType

__all__ = ["TextReader", "UnreadableTextError"]

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
#: Of these kinds the message is our own, and a hint worth showing.
_HINTED: Final = frozenset({"duration", "size", "choice"})
_ITEM: Final = "item"


class UnreadableTextError(ValueError):
    """The text does not fit the type; the message is a hint, possibly empty, that may repeat parts of the text."""


class TextReader(Env):
    """environs over the texts that are passed in; the process's environment is never looked at."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts
        self.add_parser("strict_bool", _parse_bool)
        self.add_parser("duration", _parse_duration)
        self.add_parser("size", _parse_size)
        self.add_parser("choice", _parse_choice)

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._texts.get(env_key, default)

    def read(self, name: str, value_type: ValueType) -> Any:
        """The value of the variable ``name``, which has a text.

        Raises:
            UnreadableTextError: the text does not fit the type.
        """
        try:
            return self._readers[value_type.kind](self, name, value_type)
        except EnvValidationError as error:
            raise UnreadableTextError(self._hint(name, value_type, error.error_messages)) from None

    def _hint(self, name: str, value_type: ValueType, messages: Any) -> str:
        if isinstance(messages, dict):
            index, reasons = next(iter(messages.items()))
            item = self._texts[name].split(",")[index].strip()
            detail = f" ({reasons[0]})" if reasons[0] else ""
            return f"item {index + 1} is {item!r}{detail}"
        return str(messages[0]) if value_type.kind in _HINTED else ""

    def _read_list(self, name: str, value_type: ValueType) -> Any:
        item_type = value_type.item
        if item_type is None:
            raise TypeError("a list without an item type")

        def read_item(text: str) -> Any:
            text = text.strip()
            if not text:
                raise ValidationError("an item is not empty")
            try:
                return TextReader({_ITEM: text}).read(_ITEM, item_type)
            except UnreadableTextError as error:
                raise ValidationError(str(error)) from None

        return value_type.python(self.list(name, subcast=read_item))

    _readers: Final[Mapping[str, Callable[[TextReader, str, ValueType], Any]]] = {
        "text": lambda self, name, _type: self.str(name),
        "path": lambda self, name, _type: self.path(name),
        "integer": lambda self, name, _type: self.int(name),
        "number": lambda self, name, _type: self.float(name),
        "boolean": lambda self, name, _type: self.strict_bool(name),
        "duration": lambda self, name, value_type: self.duration(name, python=value_type.python),
        "size": lambda self, name, _type: self.size(name),
        "choice": lambda self, name, value_type: self.choice(name, value_type=value_type),
        "list": _read_list,
    }


def _parse_bool(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValidationError("") from None


def _parse_duration(text: str, *, python: Any) -> float | timedelta:
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise ValidationError(str(error)) from None
    if python is timedelta:
        return timedelta(seconds=seconds)
    if python is int:
        if seconds != int(seconds):
            raise ValidationError("it is no whole number of seconds")
        return int(seconds)
    return seconds


def _parse_size(text: str) -> int:
    try:
        return parse_size(text)
    except UnitError as error:
        raise ValidationError(str(error)) from None


def _parse_choice(text: str, *, value_type: ValueType) -> Any:
    known = {**value_type.aliases, **value_type.choices}
    text = text.strip()
    if text in known:
        return known[text]
    folded = {name.casefold(): value for name, value in known.items()}
    if text.casefold() in folded:
        return folded[text.casefold()]
    meant = nearest(text, value_type.choices, cutoff=50)
    raise ValidationError(f"did you mean {meant}?" if meant else "")
