"""``toolkit call``: what goes in and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # it has no stubs

Run = Callable[..., Any]
Background = Any


def test_list(call: Run, address: str) -> None:
    """Without a method, everything that the server has is listed, its own services first."""
    outcome = call(address)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(
        "shop.v1.Items\n"
        "  GetItem(shop.v1.Item) → shop.v1.Item\n"
        "  ListItems(shop.v1.Item) → stream shop.v1.Item\n"
        "  ImportItems(stream shop.v1.Item) → shop.v1.Item\n"
        "  EditItems(stream shop.v1.Item) → stream shop.v1.Item\n"
        "  Clear(shop.v1.Nothing) → shop.v1.Nothing\n"
        "\n"
        "shop.v1.Orders\n"
        "  Clear(shop.v1.Nothing) → shop.v1.Nothing\n"
        "\n"
        "grpc.health.v1.Health\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        "GetItem",
        "get_item",
        "Items/GetItem",
        "shop.v1.Items/GetItem",
        "/shop.v1.Items/GetItem",
        "shop.v1.Items.GetItem",
        "v1.items/getitem",
    ],
)
def test_unary(call: Run, address: str, name: str) -> None:
    """A method is called by any name that says which, and its reply is printed as JSON."""
    outcome = call(address, name, '{"itemName": "Käse", "count": 2, "kind": "BOOK"}')
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == '{\n  "itemName": "Käse",\n  "count": 2,\n  "kind": "BOOK"\n}\n'


def test_proto_field_names(call: Run, address: str) -> None:
    """Fields may be written by their names in the proto, too."""
    outcome = call(address, "GetItem", '{"item_name": "a", "sold_at": "2026-01-02T03:04:05Z"}')
    assert json.loads(outcome.out) == {"itemName": "a", "soldAt": "2026-01-02T03:04:05Z"}


def test_without_json(call: Run, address: str) -> None:
    """Without JSON the request is empty; --defaults shows what a reply leaves out."""
    assert call(address, "GetItem").out == "{}\n"
    shown = json.loads(call("--defaults", address, "GetItem").out)
    assert shown == {"itemName": "", "count": 0, "kind": "KIND_UNSPECIFIED", "parts": [], "byName": {}}


def test_server_streaming(call: Run, address: str) -> None:
    """Each reply of a stream is a line of JSON."""
    outcome = call(address, "ListItems")
    assert outcome == (0, '{"itemName": "i"}\n{"itemName": "i", "count": 1}\n{"itemName": "i", "count": 2}\n', "")


def test_client_streaming(call: Run, address: str) -> None:
    """Several JSON documents are the messages of a client stream, however they are laid out."""
    outcome = call(address, "ImportItems", "-", stdin='{"count": 1}\n{"count":\n 2} {"count": 3}\n')
    assert outcome == (0, '{\n  "count": 6\n}\n', "")
    assert call(address, "ImportItems", "-", stdin="").out == "{}\n"


def test_bidirectional_streaming(call: Run, address: str) -> None:
    """A stream in, a stream out."""
    outcome = call(address, "EditItems", '{"itemName": "a"} {"itemName": "b"}')
    assert outcome == (0, '{"itemName": "A"}\n{"itemName": "B"}\n', "")


def test_request_from_stdin_and_file(call: Run, address: str, tmp_path: Path) -> None:
    """`-` reads the request from stdin, and `@file` from a file."""
    assert json.loads(call(address, "GetItem", "-", stdin='{"count": 7}').out) == {"count": 7}
    (tmp_path / "request.json").write_text('{"count": 8}')
    assert json.loads(call(address, "GetItem", f"@{tmp_path}/request.json").out) == {"count": 8}


def test_metadata(call: Run, address: str) -> None:
    """Headers are sent, and --verbose shows metadata both ways on stderr."""
    outcome = call("-v", "-H", "Tenant: a:b", "-H", "id-bin: AQI", address, "GetItem", '{"count": 1}')
    assert json.loads(outcome.out) == {"count": 1}
    assert outcome.err == (
        "> method: /shop.v1.Items/GetItem\n> tenant: a:b\n> id-bin: AQI=\n"
        "< served-by: a\n<< took-bin: AQ==\n<< tenant: a:b\n"
    )


def test_short_addresses(call: Run, address: str) -> None:
    """A port alone is one of this machine, and a URL is an address."""
    port = address.rpartition(":")[2]
    for text in (port, f":{port}", f"http://localhost:{port}/", f"dns:///localhost:{port}"):
        assert call(text, "GetItem").out == "{}\n"


def test_reply_with_a_type_that_is_not_known(call: Run, address: str) -> None:
    """A reply which JSON cannot show is shown as text."""
    outcome = call(address, "GetItem", '{"itemName": "unknown any"}')
    assert outcome.code == 0
    assert outcome.out.startswith('item_name: "unknown any"\n')
    assert outcome.err == (
        "! in protobuf's text format, for JSON needs more types:"
        " Can not find message descriptor by type_url: type.googleapis.com/shop.v2.Mystery\n"
    )


def test_descriptor_instead_of_reflection(call: Run, address: str, descriptor: Path) -> None:
    """With a descriptor set the server is not asked what it has."""
    outcome = call("--descriptor", str(descriptor), "-v", address, "GetItem", '{"count": 1}')
    assert json.loads(outcome.out) == {"count": 1}
    assert call("--descriptor", str(descriptor), "localhost:1").out.startswith("shop.v1.Items\n  GetItem(")


def test_older_reflection(call: Run, background: Background, manifest: Any) -> None:
    """A server that has only v1alpha is asked in that version."""

    async def echo(request: bytes, _context: Any) -> bytes:
        return request

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        handler: Any = grpc.unary_unary_rpc_method_handler(echo)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.v1.Items", {"GetItem": handler}),))
        reflection.enable_server_reflection(["shop.v1.Items"], server, pool=manifest.pool)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = background.run(start())
    try:
        assert json.loads(call(f"localhost:{port}", "GetItem", '{"count": 3}').out) == {"count": 3}
    finally:
        background.run(server.stop(0))


def test_colours_are_for_terminals(address: str) -> None:
    """On a terminal JSON is coloured; in a pipe it is not, and the engine adds nothing to stderr."""
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", "call", address, "GetItem", '{"count": 1}']
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    piped = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert (piped.stdout, piped.stderr) == ('{\n  "count": 1\n}\n', "")
    ours, theirs = os.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment):
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 1000)
            except OSError:
                break
            if not data:
                break
            shown += data
    os.close(ours)
    assert b"\x1b[" in shown
    assert b"count" in shown


def test_help(call: Run) -> None:
    """The help has examples and the exit codes."""
    outcome = call("--help")
    assert outcome.code == 0
    assert """toolkit call localhost:9000 GetUser '{"id": 1}'""" in outcome.out
    assert "64 + the gRPC\n  status" in outcome.out
