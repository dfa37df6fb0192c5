"""The test kit's own promises: calls by name, replaced plugins, captured events."""

# No `from __future__ import annotations`: what is injected stands inside the tests.
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from redis.asyncio import Redis

from toolkit import Abort, Code, Context, Service
from toolkit.cli.compile import compile_protos
from toolkit.manifest import read_manifest
from toolkit.testing import running_app

PROTO = """
syntax = "proto3";
package shop.v1;
import "toolkit/annotations.proto";
option (toolkit.plugins) = {prefix: "cache" plugin: "redis"};
service Shop {
  rpc Buy(Text) returns (Text);
  rpc Count(stream Text) returns (Text);
  rpc Repeat(Text) returns (stream Text);
  rpc Chat(stream Text) returns (stream Text);
}
service Other { rpc Buy(Text) returns (Text); }
message Text { string text = 1; }
"""

shop = Service("shop.v1.Shop")
other = Service("shop.v1.Other")


@shop.rpc
async def buy(request: Any, context: Context, *, cache: Redis) -> Any:
    if request.text == "nothing":
        raise Abort(Code.NOT_FOUND, "there is no nothing")
    context.log.info("shop.bought", item=request.text)
    return {"text": f"{await cache.get(request.text)!r} for {context.metadata.get('user', 'nobody')!r}"}


@shop.rpc
async def count(requests: AsyncIterator[Any]) -> Any:
    return {"text": str(len([request async for request in requests]))}


@shop.rpc
async def repeat(request: Any) -> AsyncIterator[Any]:
    for _ in range(3):
        yield request


@shop.rpc
async def chat(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield {"text": request.text.upper()}


@other.rpc("Buy")
async def buy_other(request: Any) -> Any:
    return {"text": "other"}


class FakeCache:
    async def get(self, key: str) -> str:
        return f"cached {key}"


@pytest.fixture
def descriptor(tmp_path: Path) -> Path:
    (tmp_path / "shop.proto").write_text(PROTO, encoding="utf-8")
    path = tmp_path / "shop.pb"
    path.write_bytes(compile_protos([tmp_path / "shop.proto"]))
    return path


def handlers() -> list[ModuleType]:
    module = ModuleType("handlers_of_the_test")
    module.__dict__.update(shop=shop, other=other)
    return [module]


async def test_all_four_kinds_are_called_by_name(descriptor: Path) -> None:
    """One reply, a stream of them, a stream of requests, and both; a fake stands in for the plugin."""
    async with running_app(descriptor, handlers=handlers(), replacements={"cache": FakeCache()}) as service:
        reply = await service.call("Shop/Buy", {"text": "tea"}, metadata=[("user", "ada")])
        assert reply.text == "'cached tea' for 'ada'"
        assert (await service.call("shop.v1.Other/Buy")).text == "other"
        assert (await service.call("Count", [{"text": "a"}, {"text": "b"}])).text == "2"
        assert [item.text for item in await service.call("Repeat", {"text": "x"})] == ["x", "x", "x"]
        assert [item.text for item in await service.call("Chat", [{"text": "a"}, {"text": "b"}])] == ["A", "B"]


async def test_statuses_are_raised_or_given(descriptor: Path) -> None:
    """`call` raises the status, `abort` gives it, and complains about a call that ends well."""
    async with running_app(descriptor, handlers=handlers(), replacements={"cache": FakeCache()}) as service:
        with pytest.raises(Abort, match="^NOT_FOUND: there is no nothing$"):
            await service.call("Shop/Buy", {"text": "nothing"})
        assert (await service.abort("Shop/Buy", {"text": "nothing"})).code is Code.NOT_FOUND
        with pytest.raises(AssertionError, match="ended well"):
            await service.abort("Shop/Buy", {"text": "tea"})


async def test_ambiguous_and_unknown_methods_are_refused(descriptor: Path) -> None:
    """A name that two services have, and one that none has, list what there is."""
    async with running_app(descriptor, handlers=handlers(), replacements={"cache": FakeCache()}) as service:
        with pytest.raises(LookupError) as caught:
            await service.call("Buy")
        assert str(caught.value) == "2 methods are called 'Buy'; there are: shop.v1.Shop/Buy, shop.v1.Other/Buy"
        with pytest.raises(LookupError, match="^0 methods are called 'Sell'; there are: shop.v1.Shop/Buy, "):
            await service.call("Sell")
        with pytest.raises(TypeError, match="takes one request, not 2"):
            await service.call("Shop/Buy", [{}, {}])


async def test_events_are_captured(descriptor: Path) -> None:
    """What handlers and runtime log during the test is at hand."""
    async with running_app(descriptor, handlers=handlers(), replacements={"cache": FakeCache()}) as service:
        await service.call("Shop/Buy", {"text": "tea"})
    names = [event["event"] for event in service.events]
    assert names.index("toolkit.plugin_started") < names.index("shop.bought") < names.index("toolkit.service_stopped")


async def test_server_for_an_undeclared_prefix_is_a_mistake(descriptor: Path) -> None:
    """A server under a prefix that nothing declares is said, with what is declared."""
    with pytest.raises(
        LookupError, match=r"^no plugin that takes a server is declared under 'pgsql' \(declared: cache\)$"
    ):
        async with running_app(descriptor, handlers=handlers(), servers={"pgsql": None}):  # type: ignore[dict-item]
            pass


async def test_manifest_bytes_and_path_are_the_same(descriptor: Path) -> None:
    """The descriptor may be bytes, a path or a manifest that was read already."""
    data = await asyncio.to_thread(descriptor.read_bytes)
    for given in (descriptor, data, read_manifest(data)):
        async with running_app(given, handlers=handlers(), replacements={"cache": FakeCache()}) as service:
            assert service.app.name == "shop.v1.Shop"


async def test_serve_listens_on_a_free_port(descriptor: Path) -> None:
    """With serve=True the service is also reached over gRPC, on loopback."""
    import grpc

    async with running_app(descriptor, handlers=handlers(), replacements={"cache": FakeCache()}, serve=True) as service:
        host, _, port = service.app.grpc_address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        async with grpc.aio.insecure_channel(service.app.grpc_address) as channel:
            call: Any = channel.unary_unary("/shop.v1.Other/Buy")
            assert await call(b"") == b"\n\x05other"
