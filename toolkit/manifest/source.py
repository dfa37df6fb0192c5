"""Where things stand in a .proto, and the comments above them, from its SourceCodeInfo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, SourceCodeInfo
from google.protobuf.message import DecodeError

from toolkit.manifest.model import Location

__all__ = ["Path", "SourceInfo", "find_path"]

#: A path of field numbers and indices, as ``SourceCodeInfo.Location.path`` describes it.
Path = tuple[int, ...]


@attrs.frozen
class _Place:
    line: int | None
    comment: str


class SourceInfo:
    """The lines and comments of one file; decoded when first asked for, since most files never are."""

    __slots__ = ("_data", "_inside", "_places", "file")

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self._data = data
        self._places: dict[Path, _Place] | None = None
        self._inside: dict[Path, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self._data)

    def location(self, *paths: Path) -> Location:
        """The line of the first of these paths that is known; without one, the file alone."""
        return Location(self.file, next(filter(None, map(self._line, paths)), None))

    def option(self, options: Path, number: int, *rest: int) -> Location:
        """The line of an option, or of an element inside it.

        protoc knows where each ``option`` statement stands, but not what stands inside one
        with braces; buf knows that, but not the elements of a list in brackets. Whatever
        encloses the element, or stands before it in the same list, is the next best.
        """
        whole = (*options, number)
        path = (*whole, *rest)
        while len(path) > len(whole):
            # An index: its own line, or that of an element before it, a bounded number of them.
            for index in range(path[-1], max(-1, path[-1] - 100), -1):
                if line := self._line((*path[:-1], index)):
                    return Location(self.file, line)
            path = path[:-1]
        # The line of the first option of all would mislead; that of the service or method does not.
        enclosing = self._line(options[:-1]) if len(options) > 1 else None
        return Location(self.file, self._line(whole) or self._first_line_inside(whole) or enclosing)

    def _line(self, path: Path) -> int | None:
        place = self._read().get(path)
        return place.line if place else None

    def _first_line_inside(self, whole: Path) -> int | None:
        """The first line of statements like ``option (toolkit.app).name = …``, which leave no entry for the option."""
        if whole not in self._inside:
            lines = (place.line for path, place in self._read().items() if path[: len(whole)] == whole)
            self._inside[whole] = next(filter(None, lines), None)
        return self._inside[whole]

    def comment(self, path: Path) -> str:
        """The comment above the element, without its comment marks."""
        place = self._read().get(path)
        return place.comment if place else ""

    def _read(self) -> dict[Path, _Place]:
        if self._places is None:
            try:
                info = SourceCodeInfo.FromString(self._data)
            except DecodeError:
                info = SourceCodeInfo()
            self._places = {}
            for location in info.location:
                # An option that is set in several statements has one entry each; the first is the place to show.
                self._places.setdefault(tuple(location.path), _read_place(location))
        return self._places


def _read_place(location: SourceCodeInfo.Location) -> _Place:
    span = location.span
    line = span[0] + 1 if span and 0 <= span[0] < 10_000_000 else None
    text: Any = location.leading_comments
    if not isinstance(text, str):
        text = ""
    return _Place(line, "\n".join(part.removeprefix(" ").rstrip() for part in text.splitlines()).strip())


def find_path(file: FileDescriptorProto, name: str) -> Path | None:
    """The path of the message, enum, service, method, field … ``name`` (relative to the file's package)."""
    first, *rest = name.split(".")
    for number, items in (
        (4, file.message_type),
        (5, file.enum_type),
        (6, file.service),
        (7, file.extension),
    ):
        index = _index(items, first)
        if index is None:
            continue
        if number == 4:
            return _descend(file.message_type[index], rest, (4, index))
        if number == 6 and len(rest) == 1:
            method = _index(file.service[index].method, rest[0])
            return None if method is None else (6, index, 2, method)
        return (number, index) if not rest else None
    return None


def _descend(message: DescriptorProto, rest: Sequence[str], path: Path) -> Path | None:
    for depth, name in enumerate(rest):
        nested = _index(message.nested_type, name)
        if nested is not None:
            message, path = message.nested_type[nested], (*path, 3, nested)
            continue
        if depth < len(rest) - 1:
            return None
        for number, items in (
            (2, message.field),
            (4, message.enum_type),
            (6, message.extension),
            (8, message.oneof_decl),
        ):
            index = _index(items, name)
            if index is not None:
                return (*path, number, index)
        return None
    return path


def _index(items: Any, name: str) -> int | None:
    return next((index for index, item in enumerate(items) if item.name == name), None)
