"""Requests from JSON as people type it, replies as JSON that they read."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.cli.call_schema import Method, NotCalledError
from toolkit.errors import Problem
from toolkit.manifest.names import nearest

__all__ = ["JsonPrinter", "read_requests"]


def read_requests(argument: str | None, method: Method, pool: DescriptorPool) -> list[Any]:
    """The request messages that the argument stands for: JSON, ``-`` for stdin, ``@file``, None for an empty one.

    Raises:
        NotCalledError: it is not JSON, does not fit the method's request, or has too many messages.
    """
    documents = list(_parse_documents(_read(argument))) if argument is not None else [{}]
    if not method.client_streaming and len(documents) != 1:
        raise _bad_request(
            method,
            f"{method.full_name} takes one request, and {len(documents)} are given",
            "one JSON document is one request",
        )
    return [_make_request(document, method, pool) for document in documents]


def _read(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NotCalledError(
            Problem(code="call.unreadable_request", where=argument[1:], what=f"the request cannot be read: {reason}")
        ) from None


def _parse_documents(text: str) -> Iterator[Any]:
    decoder, end = json.JSONDecoder(), 0
    while rest := re.compile(r"\s*").match(text, end):
        end = rest.end()
        if end == len(text):
            return
        try:
            document, end = decoder.raw_decode(text, end)
        except json.JSONDecodeError as error:
            line = text.splitlines()[error.lineno - 1] if text.splitlines()[error.lineno - 1 :] else ""
            raise NotCalledError(
                Problem(
                    code="call.not_json",
                    what=f"the request is not JSON: line {error.lineno}, column {error.colno}: {error.msg}",
                    why=f"{line}\n{' ' * (error.colno - 1)}^",
                    fix="""quote it for the shell: '{"name": "Ada"}'""",
                )
            ) from None
        yield document


def _make_request(document: Any, method: Method, pool: DescriptorPool) -> Any:
    request = method.request_class()
    if not _has_own_json(method.request):
        if not isinstance(document, dict):
            what = f"a request is a JSON object, and this is {_KINDS.get(type(document), 'a number')}"
            raise _bad_request(method, what, _name_fields(method.request))
        _check_fields(document, method.request, "", method)
    try:
        json_format.ParseDict(document, request, descriptor_pool=pool)
    except json_format.ParseError as error:
        raise _bad_request(method, _explain(error), "") from None
    missing = request.FindInitializationErrors()
    if missing:
        raise _bad_request(method, f"required fields are missing: {', '.join(missing)}", "")
    return request


_KINDS: dict[type, str] = {list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


def _check_fields(document: dict[str, Any], message: Descriptor, path: str, method: Method) -> None:
    """Find the first field that the message does not have, which protobuf's own error names without its neighbours."""
    fields = {name: field for field in message.fields for name in (field.json_name, field.name)}
    for name, value in document.items():
        field = fields.get(name)
        if field is None:
            if name.startswith("["):
                continue
            raise _unknown_field(name, message, path, method)
        inner = _message_of(field)
        if inner is None or _has_own_json(inner):
            continue
        values = list(value.values()) if _is_map(field) and isinstance(value, dict) else value
        for item in values if isinstance(values, list) else [values]:
            if isinstance(item, dict):
                _check_fields(item, inner, f"{path}{name}.", method)


def _message_of(field: FieldDescriptor) -> Descriptor | None:
    entry = field.message_type
    return entry.fields_by_name["value"].message_type if entry is not None and _is_map(field) else entry


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _has_own_json(message: Descriptor) -> bool:
    return message.full_name.startswith("google.protobuf.") and message.file.name.startswith("google/protobuf/")


def _unknown_field(name: str, message: Descriptor, path: str, method: Method) -> NotCalledError:
    meant = nearest(name, [field.json_name for field in message.fields])
    return _bad_request(
        method,
        f"{message.full_name} has no field {path + name!r}",
        _name_fields(message),
        f"did you mean {path}{meant}?" if meant else "",
    )


def _name_fields(message: Descriptor) -> str:
    names = [field.json_name for field in message.fields]
    return f"the fields of {message.full_name} are {', '.join(names)}" if names else f"{message.full_name} has no field"


def _explain(error: json_format.ParseError) -> str:
    text = str(error).rstrip(".")
    path = []
    while match := re.match(r"Failed to parse (\S+) field: ", text):
        path.append(match[1])
        text = text[match.end() :]
    return f"{'.'.join(path)}: {text}" if path else text


def _bad_request(method: Method, what: str, why: str, fix: str = "") -> NotCalledError:
    return NotCalledError(Problem(code="call.bad_request", where=method.full_name, what=what, why=why, fix=fix))


class JsonPrinter:
    """Prints replies as JSON: coloured on a terminal, and with ``lines`` each on a line of its own."""

    def __init__(self, pool: DescriptorPool, *, defaults: bool, lines: bool) -> None:
        self._pool = pool
        self._defaults = defaults
        self._indent = None if lines else 2

    def print(self, message: Any) -> None:
        """Print one reply, at once."""
        try:
            value = json_format.MessageToDict(
                message, always_print_fields_with_no_presence=self._defaults, descriptor_pool=self._pool
            )
        except TypeError as error:
            # An Any of a type that is in none of the server's files.
            click.secho(f"! in protobuf's text format, for JSON needs more types: {error}", err=True, fg="yellow")
            click.echo(str(message))
            return
        text = json.dumps(value, ensure_ascii=False, indent=self._indent)
        if sys.stdout.isatty() and _terminal() is not None:
            from rich.json import JSON

            _terminal().print(JSON(text, indent=self._indent, ensure_ascii=False), soft_wrap=True)
        else:
            click.echo(text)


@functools.cache
def _terminal() -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
