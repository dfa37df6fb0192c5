"""The options of files, services and methods, read through the pool that the set itself filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import attrs
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from toolkit.manifest.findings import Findings
from toolkit.manifest.model import Location
from toolkit.manifest.source import Path, SourceInfo

__all__ = ["HTTP", "OptionReader", "Options", "OptionsMessage"]

Kind = Literal["File", "Service", "Method"]

STRING, BOOL, ENUM, MESSAGE = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_MESSAGE,
)


class OptionsMessage(Protocol):
    """An options message as the set has it: its extensions are still unknown fields."""

    def SerializePartialToString(self) -> bytes:  # noqa: N802 -- protobuf's own name
        """The message as bytes, required fields or not."""


@attrs.frozen
class _Field:
    """What toolkit knows of a field or extension: a set that declares it otherwise cannot be read."""

    number: int
    type: int
    repeated: bool = False
    #: The full name of the message, or of the enum.
    of: str = ""
    #: Whether it is a ``map<string, string>``.
    is_map: bool = False


HTTP = "google.api.http"

_EXTENSIONS: Mapping[str, _Field] = {
    "toolkit.plugins": _Field(50001, MESSAGE, repeated=True, of="toolkit.Plugin"),
    "toolkit.services": _Field(50002, MESSAGE, repeated=True, of="toolkit.Service"),
    "toolkit.tests_spec": _Field(50004, MESSAGE, of="toolkit.TestSpec"),
    "toolkit.app": _Field(50100, MESSAGE, of="toolkit.App"),
    "toolkit.runtime": _Field(70001, MESSAGE, of="toolkit.Runtime"),
    "toolkit.server": _Field(70002, MESSAGE, of="toolkit.Server"),
    "toolkit.route": _Field(60001, MESSAGE, of="toolkit.Route"),
    HTTP: _Field(72295728, MESSAGE, of="google.api.HttpRule"),
}

_PROXY = {"service": _Field(1, STRING), "method": _Field(2, STRING)}

_MESSAGES: Mapping[str, Mapping[str, _Field]] = {
    "toolkit.Plugin": {
        "plugin": _Field(1, STRING),
        "prefix": _Field(2, STRING),
        "critical": _Field(100, BOOL),
        "settings": _Field(101, MESSAGE, repeated=True, is_map=True),
        "needs": _Field(102, STRING, repeated=True),
    },
    "toolkit.Service": {"service": _Field(1, STRING), "package": _Field(2, STRING)},
    "toolkit.App": {
        "handlers": _Field(1, STRING, repeated=True),
        "name": _Field(2, STRING),
        "env_prefix": _Field(3, STRING),
        "version": _Field(4, STRING),
        "description": _Field(5, STRING),
    },
    "toolkit.Runtime": {
        "plugins": _Field(1, MESSAGE, repeated=True, of="toolkit.Plugin"),
        "servers": _Field(2, ENUM, repeated=True, of="toolkit.Runtime.Server"),
    },
    "toolkit.Server": {"middlewares": _Field(1, STRING, repeated=True)},
    "toolkit.Route": {
        "middlewares": _Field(1, STRING, repeated=True),
        "exclude_global_middlewares": _Field(2, STRING, repeated=True),
        "http_proxy": _Field(3, MESSAGE, of="toolkit.HttpProxy"),
        "websocket_proxy": _Field(4, MESSAGE, of="toolkit.WsProxy"),
        "websocket": _Field(5, BOOL),
    },
    "toolkit.HttpProxy": _PROXY,
    "toolkit.WsProxy": _PROXY,
    "google.api.HttpRule": {
        "get": _Field(2, STRING),
        "put": _Field(3, STRING),
        "post": _Field(4, STRING),
        "delete": _Field(5, STRING),
        "patch": _Field(6, STRING),
        "body": _Field(7, STRING),
        "custom": _Field(8, MESSAGE, of="google.api.CustomHttpPattern"),
        "additional_bindings": _Field(11, MESSAGE, repeated=True, of="google.api.HttpRule"),
        "response_body": _Field(12, STRING),
    },
    "google.api.CustomHttpPattern": {"kind": _Field(1, STRING), "path": _Field(2, STRING)},
}


@attrs.frozen(kw_only=True)
class Options:
    """The options of one file, service or method, as plain values by the extension's full name."""

    values: Mapping[str, Any]
    source: SourceInfo
    #: Where the options stand in their file, e.g. ``(8,)`` for those of the file itself.
    path: Path

    def location(self, extension: str, *rest: int) -> Location:
        """Where the option is set, or what stands inside it."""
        return self.source.option(self.path, _EXTENSIONS[extension].number, *rest)


class OptionReader:
    """Reads options with the classes of a private pool, so that every extension of the set is known."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._classes: dict[Kind, Any] = {}

    def read(self, kind: Kind, options: OptionsMessage, source: SourceInfo, path: Path, findings: Findings) -> Options:
        """toolkit's options, and google.api.http; what toolkit does not know of them is a finding."""
        values: dict[str, Any] = {}
        message = self._parse(kind, options, source, path, findings)
        fields: Any = message.ListFields() if message is not None else ()
        for field, value in fields:
            if not field.is_extension:
                continue
            known = _EXTENSIONS.get(field.full_name)
            if known is None:
                if field.file.package == "toolkit":
                    _add_unknown(f"({field.full_name})", source.option(path, field.number), findings)
            elif field.full_name == HTTP:
                # Other people's option: what cannot be read of it is no finding of ours.
                if _is_declared_as(field, known):
                    values[HTTP] = _Plain(Findings(keep=False), Location(source.file)).message(value)
            elif not _is_declared_as(field, known):
                _add_foreign(f"({field.full_name})", field, source.option(path, field.number), findings)
            elif known.repeated:
                values[field.full_name] = [
                    _Plain(findings, source.option(path, field.number, index)).message(item)
                    for index, item in enumerate(value)
                ]
            elif field.full_name != "toolkit.tests_spec":
                values[field.full_name] = _Plain(findings, source.option(path, field.number)).message(value)
        return Options(values=values, source=source, path=path)

    def _parse(
        self, kind: Kind, options: OptionsMessage, source: SourceInfo, path: Path, findings: Findings
    ) -> Message | None:
        data = options.SerializePartialToString()
        if not data:
            return None
        if kind not in self._classes:
            self._classes[kind] = self._find_class(kind)
        options_class = self._classes[kind]
        if options_class is None:
            return None
        try:
            message: Message = options_class.FromString(data)
        except DecodeError:
            findings.add(
                "undecodable_options",
                f"the options of this {kind.lower()} cannot be decoded",
                where=source.location(path, path[:-1]) if len(path) > 1 else Location(source.file),
                why="their bytes do not fit the declarations of the options in the set",
                fix="compile the set again, all of it at once",
            )
            return None
        return message

    def _find_class(self, kind: Kind) -> Any:
        try:
            descriptor = self._pool.FindMessageTypeByName(f"google.protobuf.{kind}Options")
        except KeyError:
            # No file of the set imports descriptor.proto, so none declares an option.
            return None
        return message_factory.GetMessageClass(descriptor)


@attrs.frozen
class _Plain:
    """Turns option messages into plain dicts, with a finding for each field that toolkit does not know."""

    findings: Findings
    location: Location

    def message(self, message: Message) -> dict[str, Any]:
        name = message.DESCRIPTOR.full_name
        fields = _MESSAGES.get(name, {})
        plain: dict[str, Any] = {}
        for field, value in message.ListFields():
            known = fields.get(field.name)
            if known is None:
                _add_unknown(f"{name}.{field.name}", self.location, self.findings)
            elif not _is_declared_as(field, known):
                _add_foreign(f"{name}.{field.name}", field, self.location, self.findings)
            else:
                plain[field.name] = self._value(value, field, known)
        unknown_fields: Any = UnknownFieldSet(message)
        for unknown in unknown_fields:
            _add_unknown(f"field {unknown.field_number} of {name}", self.location, self.findings)
        return plain

    def _value(self, value: Any, field: FieldDescriptor, known: _Field) -> Any:
        if known.is_map:
            return {self._text(key, field): self._text(text, field) for key, text in value.items()}
        if known.repeated:
            return [self._single(item, field, known) for item in value]
        return self._single(value, field, known)

    def _single(self, value: Any, field: FieldDescriptor, known: _Field) -> Any:
        if known.type == MESSAGE:
            return self.message(value)
        return self._text(value, field) if known.type == STRING else value

    def _text(self, value: Any, field: FieldDescriptor) -> str:
        if isinstance(value, str):
            return value
        # A copy of the annotations in proto2 lets a string hold any bytes.
        self.findings.add(
            "not_utf8",
            f"the option field {field.full_name} is not valid UTF-8",
            where=self.location,
            fix="compile the set again, from a file that is UTF-8",
        )
        return ""


def _is_declared_as(field: Any, known: _Field) -> bool:
    if field.number != known.number or field.type != known.type or field.is_repeated != known.repeated:
        return False
    if known.is_map:
        return _is_text_map(field)
    if known.type == MESSAGE:
        return bool(field.message_type.full_name == known.of)
    return known.type != ENUM or bool(field.enum_type.full_name == known.of)


def _is_text_map(field: Any) -> bool:
    entry = field.message_type
    return bool(entry.GetOptions().map_entry) and [part.type for part in entry.fields] == [STRING, STRING]


def _add_unknown(what: str, where: Location, findings: Findings) -> None:
    findings.add(
        "unknown_option",
        f"{what} is set, which this version of toolkit does not know",
        where=where,
        why="the set was compiled with newer annotations than this version's",
        fix='update toolkit, or compile with its own annotations: -I "$(toolkit schemas)"',
    )


def _add_foreign(what: str, field: Any, where: Location, findings: Findings) -> None:
    findings.add(
        "foreign_option",
        f"{what} is declared otherwise than toolkit reads it",
        where=where,
        why=f"it is field {field.number} of {field.file.name}",
        fix='compile with the annotations of toolkit: -I "$(toolkit schemas)"',
    )
