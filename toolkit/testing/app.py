"""A service in the test's own process: called by method name, with its plugins real or replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from google.protobuf import json_format
from google.protobuf.message import Message
from structlog.testing import capture_logs

from toolkit.errors import Abort
from toolkit.manifest import Manifest, MethodDeclaration, read_manifest
from toolkit.plugins import DevServer, Plugin
from toolkit.runtime.app import App
from toolkit.runtime.call import Context, MetadataPairs
from toolkit.runtime.discovery import discover_plugins
from toolkit.runtime.dispatch import Codec, Endpoint
from toolkit.runtime.setup import prepare

__all__ = ["TestApp", "running_app"]

#: What a request may be written as: a message, or a mapping in the protobuf JSON mapping.
Request = Message | Mapping[str, Any]


class _LocalCall(Context):
    """A call that came over no wire."""

    __slots__ = ("_pairs", "_timeout", "initial_metadata")

    def __init__(self, method: MethodDeclaration, request: Any, pairs: MetadataPairs, timeout: float | None) -> None:
        super().__init__(method, request)
        self._pairs = pairs
        self._timeout = timeout
        self.initial_metadata: list[tuple[str, str | bytes]] = []

    def _read_metadata(self) -> MetadataPairs:
        return self._pairs

    def time_remaining(self) -> float | None:
        return self._timeout

    @property
    def peer(self) -> str:
        return "in-process"

    async def send_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        self.initial_metadata.extend(pairs)


class TestApp:
    """A running service and a client for every method of it."""

    __test__ = False  # its name is for people; pytest need not collect it

    def __init__(self, app: App, events: list[MutableMapping[str, Any]]) -> None:
        self.app = app
        #: Every log event since the start, as structlog's test helper captures them.
        self.events = events

    def method(self, name: str) -> MethodDeclaration:
        """The served method of this name: ``CreateUser``, ``UserService/CreateUser`` or the full path.

        Raises:
            LookupError: no method, or more than one, has the name.
        """
        wanted = name.lstrip("/")
        methods = list(self.app.manifest.methods())
        found = [item for item in methods if f"/{item.path.lstrip('/')}".endswith((f"/{wanted}", f".{wanted}"))]
        if len(found) != 1:
            names = ", ".join(item.path.lstrip("/") for item in (found or methods))
            raise LookupError(f"{len(found)} methods are called {name!r}; there are: {names}")
        return found[0]

    async def call(
        self,
        name: str,
        request: Request | Iterable[Request] = (),
        *,
        metadata: MetadataPairs = (),
        timeout: float | None = None,
    ) -> Any:
        """Call a method and give its reply message, or the list of its replies when it streams.

        Request and reply pass through their wire form, as over a network. A mapping is
        read by the protobuf JSON mapping; an iterable of requests feeds a client stream.

        Raises:
            Abort: the call ended with a status other than OK.
        """
        endpoint = self.app.dispatcher.endpoints[self.method(name).path]
        context = _LocalCall(endpoint.declaration, _encode(endpoint, request), metadata, timeout)
        serve: Any = endpoint.serve(
            Codec(decode=endpoint.request_class.FromString, encode=endpoint.reply_class.SerializeToString)
        )
        decode = endpoint.reply_class.FromString
        if endpoint.declaration.cardinality.server_streaming:
            return [decode(reply) async for reply in serve(context)]
        return decode(await serve(context))

    async def abort(self, name: str, request: Request | Iterable[Request] = (), **options: Any) -> Abort:
        """Call a method that is expected to fail, and give the status that it ended with.

        Raises:
            AssertionError: the call ended well.
        """
        try:
            reply = await self.call(name, request, **options)
        except Abort as error:
            return error
        raise AssertionError(f"{name} ended well, with {reply!r}")


def _encode(endpoint: Endpoint, request: Request | Iterable[Request]) -> Any:
    def one(item: Request) -> bytes:
        if isinstance(item, Message):
            return item.SerializeToString()
        return json_format.ParseDict(dict(item), endpoint.request_class()).SerializeToString()

    async def stream(items: Iterable[Request]) -> AsyncIterator[bytes]:
        for item in items:
            yield one(item)

    if isinstance(request, Message | Mapping):
        single: Request = request
        return stream([single]) if endpoint.declaration.cardinality.client_streaming else one(single)
    if endpoint.declaration.cardinality.client_streaming:
        return stream(request)
    items = list(request)
    if len(items) > 1:
        raise TypeError(f"{endpoint.declaration.path} takes one request, not {len(items)}")
    return one(items[0] if items else {})


@asynccontextmanager
async def running_app(
    descriptor: bytes | Path | Manifest,
    *,
    handlers: Sequence[str | ModuleType] = (),
    environ: Mapping[str, str] | None = None,
    env_prefix: str | None = None,
    servers: Mapping[str, DevServer] | None = None,
    replacements: Mapping[str, Any] | None = None,
    serve: bool = False,
    allow_unimplemented: bool = False,
) -> AsyncIterator[TestApp]:
    """Start a service for a test and stop it afterwards.

    Args:
        descriptor: a FileDescriptorSet, the path of one, or a manifest.
        handlers: modules or module names; default: those that the manifest names.
        environ: the whole environment of the service; the process's own is not read.
        env_prefix: as on the command line.
        servers: by prefix, the server to connect to, as the fixture ``postgres_database`` gives it.
        replacements: by prefix, a :class:`Plugin` or any object that stands in for
            every view of the declared plugin (a fake).
        serve: also listen for gRPC, on a port that the system picks (``app.grpc_address``).
        allow_unimplemented: as on the command line.
    """
    manifest = _read(descriptor)
    plugins = _as_plugins(manifest, replacements or {})
    setup = prepare(
        manifest,
        handlers=handlers,
        environ=environ or {},
        env_prefix=env_prefix,
        replacements=plugins,
        dev_settings=_lead_to(servers or {}, discover_plugins(manifest, replacements=plugins).plugins),
        allow_unimplemented=allow_unimplemented,
        runtime_defaults={
            "GRPC_SERVER_LISTEN": "127.0.0.1",
            "GRPC_SERVER_PORT": "0",
            "SHUTDOWN_DRAIN_DELAY": "0",
        },
    )
    with capture_logs() as events:
        app = App(setup)
        await app.start(serve=serve)
        try:
            yield TestApp(app, events)
        finally:
            await app.stop()


def _read(descriptor: bytes | Path | Manifest) -> Manifest:
    if isinstance(descriptor, Manifest):
        return descriptor
    return read_manifest(descriptor.read_bytes() if isinstance(descriptor, Path) else descriptor)


def _lead_to(servers: Mapping[str, DevServer], plugins: Mapping[str, Plugin[Any, Any]]) -> dict[str, Mapping[str, str]]:
    needs = {prefix: plugin.dev for prefix, plugin in plugins.items()}
    settings = {}
    for prefix, server in servers.items():
        need = needs.get(prefix)
        if need is None:
            raise LookupError(
                f"no plugin that takes a server is declared under {prefix!r} (declared: {', '.join(needs)})"
            )
        settings[prefix] = need.settings(server)
    return settings


@attrs.frozen
class _NoSettings:
    """A replaced plugin reads nothing from the environment."""


def _as_plugins(manifest: Manifest, replacements: Mapping[str, Any]) -> dict[str, Plugin[Any, Any]]:
    plugins = {prefix: item for prefix, item in replacements.items() if isinstance(item, Plugin)}
    fakes = {prefix: item for prefix, item in replacements.items() if prefix not in plugins}
    if fakes:
        declared = discover_plugins(manifest, replacements=plugins).plugins
        plugins |= {prefix: _stand_in(declared[prefix], fake) for prefix, fake in fakes.items() if prefix in declared}
    return plugins


def _stand_in(plugin: Plugin[Any, Any], fake: Any) -> Plugin[Any, Any]:
    @asynccontextmanager
    async def open_fake(_config: Any, _host: Any) -> AsyncIterator[Any]:
        yield fake

    async def check(_fake: Any) -> None:
        return None

    return Plugin(
        name=plugin.name,
        config=_NoSettings,
        open=open_fake,
        check=check,
        provides=dict.fromkeys(plugin.provides, lambda resource: resource),
        critical=plugin.critical,
    )
