"""Whether two compilers' results for one file mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from toolkit.manifest.files import Doubt
from toolkit.manifest.findings import Findings

__all__ = ["check_doubts"]


def check_doubts(doubts: Iterable[Doubt], pool: DescriptorPool, findings: Findings) -> None:
    """Find the files that two sets carry with different meaning.

    They are compared with the pool's own classes: compilers write the same options in
    different ways, which only those can tell who know the options.
    """
    normalized: dict[str, Any] = {}
    reported: set[str] = set()
    for doubt in doubts:
        name = doubt.kept.name
        if name in reported:
            continue
        if name not in normalized:
            normalized[name] = _normalize(doubt.kept.data, pool)
        one, other = normalized[name], _normalize(doubt.other.data, pool)
        if one == other:
            continue
        reported.add(name)
        places = f"in {doubt.kept_in} and in {doubt.other_in}"
        if doubt.kept_in == doubt.other_in:
            places = f"both in {doubt.kept_in}"
        findings.add(
            "conflicting_file",
            "the file is there twice, with different content",
            where=name,
            why=f"{places}: {_describe_difference(one, other)}",
            fix="compile every set from the same version of the file, or all of them into one set",
        )


def _normalize(data: bytes, pool: DescriptorPool) -> Any:
    """The file without what compilers write differently: JSON names that follow from the names, the oldest syntax."""
    try:
        descriptor = pool.FindMessageTypeByName("google.protobuf.FileDescriptorProto")
        file: Any = message_factory.GetMessageClass(descriptor).FromString(data)
    except (KeyError, DecodeError):
        # No file declares an option, or one option is damaged: compared as they are.
        file = FileDescriptorProto.FromString(data)
    if file.syntax == "proto2":
        file.ClearField("syntax")
    messages = list(file.message_type)
    fields = list(file.extension)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        fields.extend(message.field)
        fields.extend(message.extension)
    for field in fields:
        if field.json_name == _json_name(field.name):
            field.ClearField("json_name")
    return file


def _json_name(name: object) -> str:
    """The lowerCamelCase that protoc gives to a field without ``json_name``."""
    first, *rest = name.split("_") if isinstance(name, str) else ("",)
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _describe_difference(one: Any, other: Any) -> str:
    """The first declaration that only one of the two has, or the first that differs."""
    for kind in ("message_type", "enum_type", "service", "extension"):
        left = {item.name: item for item in getattr(one, kind)}
        right = {item.name: item for item in getattr(other, kind)}
        shown = kind.removesuffix("_type")
        for name in (*left, *right):
            if name not in left or name not in right:
                return f"only one of them has the {shown} {name}"
            if left[name] != right[name]:
                return f"the {shown} {name} differs"
    return "their options or imports differ"
