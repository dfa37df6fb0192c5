"""The annotations keep the names and numbers of the Go original."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from tests.manifest.compilers import PROTOS, parse

#: What is ours begins here, in messages and among the extensions of files.
OURS = 100
OURS_OF_FILES = 50100


def _annotations(data: bytes) -> FileDescriptorProto:
    return next(file for file in parse(data).file if file.extension)


def _fields(message: DescriptorProto) -> dict[str, tuple[int, int, int, str]]:
    return {field.name: _shape(field) for field in message.field}


def _shape(field: FieldDescriptorProto) -> tuple[int, int, int, str]:
    return (field.number, field.type, field.label, field.type_name)


def test_the_go_originals_options_are_all_there_under_their_numbers(protos: Callable[..., bytes]) -> None:
    """Every message, field, enum value and extension of the original is in ours, unchanged."""
    theirs = _annotations(protos("golang.proto", includes=(PROTOS / "upstream",)))
    ours = _annotations(protos("golang.proto"))
    assert theirs.name != ours.name
    our_extensions = {extension.name: extension for extension in ours.extension}
    for extension in theirs.extension:
        assert _shape(our_extensions[extension.name]) == _shape(extension)
        assert our_extensions[extension.name].extendee == extension.extendee
    our_messages = {message.name: message for message in ours.message_type}
    for message in theirs.message_type:
        assert _fields(message).items() <= _fields(our_messages[message.name]).items()
        assert [(value.name, value.number) for enum in message.enum_type for value in enum.value] == [
            (value.name, value.number) for enum in our_messages[message.name].enum_type for value in enum.value
        ]


def test_our_own_additions_have_numbers_of_their_own(protos: Callable[..., bytes]) -> None:
    """What toolkit adds cannot meet what the original may add."""
    theirs = _annotations(protos("golang.proto", includes=(PROTOS / "upstream",)))
    ours = _annotations(protos("golang.proto"))
    known = {message.name: _fields(message) for message in theirs.message_type}
    added = {
        f"{message.name}.{field.name}": field.number
        for message in ours.message_type
        if message.name in known
        for field in message.field
        if field.name not in known[message.name]
    }
    assert added == {"Plugin.critical": 100, "Plugin.settings": 101, "Plugin.needs": 102}
    assert min(added.values()) >= OURS
    names = {extension.name for extension in theirs.extension}
    assert {one.name: one.number for one in ours.extension if one.name not in names} == {"app": OURS_OF_FILES}
