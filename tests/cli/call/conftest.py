"""Real servers for ``toolkit call``, and the command as a function."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import grpc_tools  # type: ignore[import-untyped]  # it has no stubs
import pytest
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # it has no stubs
from grpc_tools import protoc

from toolkit.cli import main
from toolkit.errors import Abort, Code
from toolkit.manifest import Manifest, MethodDeclaration, read_manifest
from toolkit.runtime.call import Context
from toolkit.runtime.dispatch import Codec
from toolkit.runtime.health import Health
from toolkit.runtime.servers.grpc import GrpcServer, GrpcServerSettings

_PROTO = """
syntax = "proto3";
package shop.v1;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
enum Kind { KIND_UNSPECIFIED = 0; BOOK = 1; }
message Item {
  string item_name = 1;
  int32 count = 2;
  Kind kind = 3;
  Item part = 4;
  repeated Item parts = 5;
  map<string, Item> by_name = 6;
  google.protobuf.Timestamp sold_at = 7;
  google.protobuf.Any extra = 8;
}
message Nothing {}
service Items {
  rpc GetItem(Item) returns (Item);
  rpc ListItems(Item) returns (stream Item);
  rpc ImportItems(stream Item) returns (Item);
  rpc EditItems(stream Item) returns (stream Item);
  rpc Clear(Nothing) returns (Nothing);
}
service Orders { rpc Clear(Nothing) returns (Nothing); }
"""


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's descriptor set."""
    root = tmp_path_factory.mktemp("shop")
    (root / "shop.proto").write_text(_PROTO)
    out = root / "shop.pb"
    includes = [f"-I{root}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    assert protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={out}", "shop.proto"]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(descriptor: Path) -> Manifest:
    return read_manifest(descriptor.read_bytes())


@attrs.frozen(kw_only=True)
class _Endpoint:
    declaration: MethodDeclaration
    request_class: Any
    reply_class: Any
    handler: Callable[[Any, Context], Any]

    def serve(self, codec: Codec) -> Callable[[Context], Any]:
        async def requests(context: Context) -> AsyncIterator[Any]:
            async for data in context.request:
                yield codec.decode(data)

        def begin(context: Context) -> Any:
            streams = self.declaration.cardinality.client_streaming
            return self.handler(requests(context) if streams else codec.decode(context.request), context)

        async def reply_once(context: Context) -> Any:
            return codec.encode(await begin(context))

        async def reply_often(context: Context) -> AsyncIterator[Any]:
            async for reply in begin(context):
                yield codec.encode(reply)

        return reply_often if self.declaration.cardinality.server_streaming else reply_once


class _Shop:
    """Handlers that do as their request says."""

    def __init__(self, manifest: Manifest) -> None:
        self._item: Any = manifest.message("shop.v1.Item")

    async def get_item(self, request: Any, context: Context) -> Any:
        if request.item_name == "missing":
            details = [ErrorInfo(reason="SOLD", domain="shop"), self._item(item_name="other")]
            raise Abort(Code.NOT_FOUND, "no such item", details=details)
        if request.item_name == "overloaded":
            raise Abort(Code.UNAVAILABLE, "too busy")
        if request.item_name == "slow":
            await asyncio.sleep(60)
        if request.item_name == "unknown any":
            request.extra.type_url = "type.googleapis.com/shop.v2.Mystery"
        await context.send_metadata(("served-by", "a"))
        context.add_trailing_metadata(("took-bin", b"\x01"), ("tenant", str(context.metadata.get("tenant", "none"))))
        return request

    async def list_items(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        for count in range(3):
            yield self._item(item_name="i", count=count)
        if request.item_name == "broken":
            raise Abort(Code.DATA_LOSS, "lost the rest")

    async def import_items(self, requests: AsyncIterator[Any], _context: Context) -> Any:
        return self._item(count=sum([request.count async for request in requests]))

    async def edit_items(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            yield self._item(item_name=request.item_name.upper())

    async def clear(self, request: Any, _context: Context) -> Any:
        return request


class Background:
    """An event loop in a thread of its own, in which servers run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def close(self) -> None:
        self.run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=5)


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    """Where servers run while the command runs in the test's own thread."""
    background = Background()
    yield background
    background.close()


@pytest.fixture(scope="module")
def address(background: Background, manifest: Manifest) -> Iterator[str]:
    """Where the shop is served."""
    shop = _Shop(manifest)
    handlers = {
        "GetItem": shop.get_item,
        "ListItems": shop.list_items,
        "ImportItems": shop.import_items,
        "EditItems": shop.edit_items,
        "Clear": shop.clear,
    }
    endpoints: Any = {
        method.path: _Endpoint(
            declaration=method,
            request_class=manifest.message(method.input_type),
            reply_class=manifest.message(method.output_type),
            handler=handlers[method.name],
        )
        for method in manifest.methods()
    }
    settings = GrpcServerSettings(
        listen="127.0.0.1",
        port=0,
        max_receive_message_size=1 << 24,
        max_send_message_size=1 << 24,
        max_concurrent_calls=10,
    )

    async def start() -> GrpcServer:
        server = GrpcServer(settings, manifest, endpoints, Health(["shop.v1.Items"]))
        await server.start()
        return server

    server = background.run(start())
    yield server.address
    background.run(server.stop(0))


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run ``toolkit call`` with these arguments."""

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as caught:
            main(["call", *arguments])
        out, err = capfd.readouterr()
        # The tests have loaded the engine with its notes, which the command turns off in a process of its own.
        err = re.sub(r"^I\d{4} [\d:.]+ .*\n", "", err, flags=re.MULTILINE)
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else 0, out, err)

    return run
