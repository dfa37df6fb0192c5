"""The status of a failed call, drawn for people."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import click
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from toolkit.runtime.config.units import show_duration

__all__ = ["show_status"]

#: A failed call ends the process with this plus the gRPC status.
_STATUS_BASE = 64

#: What the engine says of a connection that did not come about; what that means; and what to do.
_NO_CONNECTION = (
    ("Domain name not found", "the host's name is not known", "check the address"),
    ("DNS resolution failed", "the host's name is not known", "check the address"),
    ("address lookup failed", "the host's name is not known", "check the address"),
    ("Connection refused", "connection refused", "is the service running there?"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS", "leave out --tls"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted", "--ca FILE trusts the one that signed it"),
    ("Hostname Verification Check failed", "its certificate is for another name", "write the name in ADDRESS"),
    ("HTTP/2", "it does not speak gRPC", "is that the port of gRPC?"),
    ("Socket closed", "it closed the connection", "does it want --tls?"),
)


def show_status(error: Any, *, target: str, timeout: float | None, pool: DescriptorPool | None) -> int:
    """Draw the status of a call that failed, on stderr; returns the exit code.

    Types of details are looked for in ``pool``, then among Google's standard ones.
    """
    code, details = error.code(), error.details() or ""
    message, cure = details, ""
    if code.name == "DEADLINE_EXCEEDED" and timeout is not None:
        message, cure = f"no answer within {show_duration(timeout)}", "--timeout gives it longer"
    elif code.name == "UNAVAILABLE":
        message, cure = _explain_unavailable(details, target)
    head = click.style(f"✗ {code.name}", fg="red", bold=True)
    click.echo(f"{head}: {message}" if message else head, err=True)
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for line in _describe_details(value, pool):
                click.echo(f"  {line}", err=True)
    if cure:
        click.secho(f"  → {cure}", fg="green", err=True)
    number: int = code.value[0]
    return _STATUS_BASE + number


def _explain_unavailable(details: str, target: str) -> tuple[str, str]:
    if not details.startswith(("failed to connect to all addresses", "DNS resolution failed", "errors resolving")):
        # The server itself says so.
        return details, ""
    for sign, meaning, cure in _NO_CONNECTION:
        if sign in details:
            return f"cannot reach {target}: {meaning}", cure
    return f"cannot reach {target}: {details.rpartition('last error: ')[2]}", "check the address"


def _describe_details(status: bytes, pool: DescriptorPool | None) -> Iterator[str]:
    from google.rpc import status_pb2  # type: ignore[import-untyped]  # it has no stubs

    # Puts the standard details into the default pool.
    importlib.import_module("google.rpc.error_details_pb2")
    try:
        details = status_pb2.Status.FromString(status).details
    except DecodeError:
        yield f"details of {len(status)} bytes that are no google.rpc.Status"
        return
    for detail in details:
        name = detail.type_url.rpartition("/")[2]
        value = next(
            filter(None, (_read_detail(known, name, detail) for known in (pool, descriptor_pool.Default()))), ""
        )
        yield f"{name} {value or f'({len(detail.value)} bytes of a type that is not known here)'}"


def _read_detail(pool: DescriptorPool | None, name: str, detail: Any) -> str:
    if pool is None:
        return ""
    try:
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name)).FromString(detail.value)
        return json.dumps(json_format.MessageToDict(message, descriptor_pool=pool), ensure_ascii=False)
    except (KeyError, DecodeError, TypeError):
        return ""
