"""``toolkit call``: call any method of a running server by its name, with JSON in and JSON out."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from toolkit.cli.call_messages import JsonPrinter, read_requests
from toolkit.cli.call_schema import Method, NotCalledError, Schema, list_methods, read_schema, reflect
from toolkit.cli.call_status import show_status
from toolkit.errors import Problem
from toolkit.runtime.config.units import UnitError, parse_duration

if TYPE_CHECKING:
    import grpc

__all__ = ["call_command"]

_EPILOG = """\b
Examples:
  toolkit call localhost:9000                                 what can be called
  toolkit call localhost:9000 GetUser '{"id": 1}'
  toolkit call localhost:9000 shop.v1.UserService/GetUser '{"id": 1}'
  toolkit call -H 'authorization: Bearer …' localhost:9000 ListUsers
  toolkit call localhost:9000 CreateUser @user.json
  cat rows.json | toolkit call localhost:9000 ImportRows -    one message for each JSON document
  toolkit call --tls api.example.com:443 Health/Check"""


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except UnitError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command("call", context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.argument("address")
@click.argument("method", required=False)
@click.argument("json", required=False)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="KEY:VALUE",
    help="Send metadata; the value of a key that ends in -bin is base64. Repeatable.",
)  # fmt: skip
@click.option(
    "--timeout", type=_Duration(), default="10s", show_default=True, metavar="DURATION",
    help="How long the call may take (5s, 1m30s); 0 waits for ever.",
)  # fmt: skip
@click.option("--tls/--plaintext", default=None, help="Encrypt the connection; without, it is plain text.")
@click.option(
    "--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Trust the certificates in this PEM file, with --tls.",
)  # fmt: skip
@click.option(
    "--descriptor", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Take the methods from this descriptor set; without, the server is asked (reflection).",
)  # fmt: skip
@click.option("--defaults", is_flag=True, help="Show fields that have their default value, too.")
@click.option("-v", "--verbose", is_flag=True, help="Show metadata, both ways, on stderr.")
def call_command(address: str, method: str | None, json: str | None, **options: Any) -> int:
    """Call METHOD of the server at ADDRESS with a JSON request; without METHOD, list what it serves.

    METHOD is pkg.Service/Method, Service/Method, or Method where that says it all. JSON
    is the request, `-` reads it from stdin and `@file` from a file; without it the
    request is empty. A reply is printed as JSON, each of a stream on a line of its own.

    Exit codes: 0 the call ended well, 2 usage or a bad request, 64 + the gRPC status
    otherwise (69 NOT_FOUND, 78 UNAVAILABLE, …).
    """
    # The engine writes notes of its own to stderr, and reads this once, when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    call = _Call.prepare(address, **options)
    schema: Schema | None = None
    with call.open() as channel:
        try:
            schema = call.find_schema(channel, method)
            if method is None:
                click.echo(list_methods(schema), nl=False)
                return 0
            found = schema.find(method)
            requests = read_requests(json, found, schema.pool)
            call.run(channel, found, requests, schema)
        except grpc.RpcError as error:
            call.note("<<", error.trailing_metadata())
            return show_status(error, target=call.target, timeout=call.timeout, pool=schema.pool if schema else None)
    return 0


@attrs.frozen(kw_only=True)
class _Call:
    """What the options say of the call."""

    target: str
    metadata: tuple[tuple[str, str | bytes], ...]
    #: None waits for ever.
    timeout: float | None
    tls: bool
    ca: bytes | None
    descriptor: Path | None
    defaults: bool
    verbose: bool

    @classmethod
    def prepare(
        cls, address: str, *, headers: tuple[str, ...], timeout: float, tls: bool | None, ca: Path | None, **rest: Any
    ) -> _Call:
        target, tls_by_scheme = _parse_address(address)
        return cls(
            target=target,
            metadata=tuple(map(_parse_header, headers)),
            timeout=timeout or None,
            tls=(tls_by_scheme or ca is not None) if tls is None else tls,
            ca=ca.read_bytes() if ca is not None else None,
            **rest,
        )

    @contextlib.contextmanager
    def open(self) -> Iterator[grpc.Channel]:
        import grpc

        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if self.tls:
            channel = grpc.secure_channel(self.target, grpc.ssl_channel_credentials(self.ca), options)
        else:
            channel = grpc.insecure_channel(self.target, options)
        with channel:
            yield channel

    def find_schema(self, channel: grpc.Channel, method: str | None) -> Schema:
        if self.descriptor is not None:
            return read_schema(self.descriptor.read_bytes())
        return reflect(channel, method, timeout=self.timeout, metadata=self.metadata)

    def run(self, channel: grpc.Channel, method: Method, requests: list[Any], schema: Schema) -> None:
        """Make the call, and print each reply as it arrives."""
        printer = JsonPrinter(schema.pool, defaults=self.defaults, lines=method.server_streaming)
        # On the wire a unary request is a stream of one.
        make: Any = channel.stream_stream if method.server_streaming else channel.stream_unary
        stub = make(
            method.path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=method.reply_class.FromString,
        )
        self.note(">", (("method", method.path), *self.metadata))
        if method.server_streaming:
            call = replies = stub(iter(requests), timeout=self.timeout, metadata=self.metadata)
        else:
            reply, call = stub.with_call(iter(requests), timeout=self.timeout, metadata=self.metadata)
            replies = [reply]
        self.note("<", call.initial_metadata())
        for reply in replies:
            printer.print(reply)
        self.note("<<", call.trailing_metadata())

    def note(self, mark: str, pairs: Any) -> None:
        """Show metadata that travelled, if that is asked for."""
        if self.verbose:
            for key, value in pairs or ():
                text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
                click.secho(f"{mark} {key}: {text}", err=True, dim=True)


def _parse_address(address: str) -> tuple[str, bool]:
    """The engine's target, and whether the address itself asks for TLS."""
    tls = address.startswith("https://")
    target = address.removeprefix("https://" if tls else "http://").rstrip("/")
    if target.startswith("unix:"):
        return target, tls
    if target.isdecimal():
        target = f":{target}"
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal():
        if not tls or "/" in target:
            raise NotCalledError(
                Problem(
                    code="call.bad_address",
                    what=f"{address!r} is no address",
                    fix="write host:port, e.g. localhost:9000",
                )
            )
        host, port = target, "443"
    return f"{host or 'localhost'}:{port}", tls


def _parse_header(header: str) -> tuple[str, str | bytes]:
    key, colon, value = header.partition(":")
    key, value = key.strip().lower(), value.strip()
    problem = ""
    if not colon or not key or not all(char.isalnum() or char in "-_." for char in key) or not key.isascii():
        problem = f"{header!r} is no header; write it as 'key: value'"
    elif key.endswith("-bin"):
        try:
            return key, base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except binascii.Error:
            problem = f"the value of {key} is not base64, which a key that ends in -bin takes"
    elif not value.isascii() or not value.isprintable():
        problem = f"the value of {key} is not printable ASCII; send it in base64 under {key}-bin"
    if problem:
        raise click.BadParameter(problem, param_hint="'-H'")
    return key, value
