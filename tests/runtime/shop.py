"""A small shop for the tests: its protos, two fake plugins, and a call that comes over no wire."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no stubs

from toolkit.manifest import Manifest, MethodDeclaration, read_manifest
from toolkit.plugins import PerCall, Plugin
from toolkit.runtime.call import Context, MetadataPairs
from toolkit.runtime.dispatch import Codec, Dispatcher, Endpoint
from toolkit.runtime.handlers import load_handlers
from toolkit.runtime.plan import Plan, bind
from toolkit.runtime.registry import Instance, PluginState, Registry

SCHEMAS = Path(__file__).parents[2] / "schemas"

SHOP = """\
syntax = "proto3";
package shop.v1;
import "google/protobuf/empty.proto";
import "toolkit/annotations.proto";
option (toolkit.plugins) = {prefix: "pgsql" plugin: "sql"};
option (toolkit.plugins) = {prefix: "sessions" plugin: "store" critical: false};
option (toolkit.services) = {service: "billing" package: "billing.v1"};

message User { int64 id = 1; string name = 2; }
message Query { string text = 1; }

service UserService {
  rpc CreateUser(User) returns (User);
  rpc ListUsers(Query) returns (stream User);
  rpc ImportUsers(stream User) returns (User);
  rpc Chat(stream User) returns (stream User);
  rpc Ping(google.protobuf.Empty) returns (google.protobuf.Empty);
}
"""


@cache
def compile_set(source: str) -> bytes:
    """The descriptor set of ``shop.proto`` with this source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "shop.proto").write_text(source)
        well_known = files("grpc_tools") / "_proto"
        status = protoc.main(
            [
                "protoc",
                f"-I{path}",
                f"-I{SCHEMAS}",
                f"-I{well_known}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={path / 'shop.pb'}",
                str(path / "shop.proto"),
            ]
        )
        assert status == 0
        return (path / "shop.pb").read_bytes()


def shop(source: str = SHOP) -> Manifest:
    """The manifest of a shop; a new one every time."""
    return read_manifest(compile_set(source))


# Plugins


@attrs.frozen
class NoSettings:
    """The fakes read nothing."""


class Database:
    """What the fake ``sql`` plugin opens; ``events`` tells what was done to its views."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.opened = 0
        self.fail_commit: BaseException | None = None
        self.fail_close: BaseException | None = None
        #: When set, commits wait for it.
        self.gate: asyncio.Event | None = None
        #: The same for closing.
        self.close_gate: asyncio.Event | None = None


class Engine:
    """A view that lasts."""

    def __init__(self, database: Database) -> None:
        self.database = database


class Session:
    """A view of one call."""

    def __init__(self, database: Database) -> None:
        database.opened += 1
        self.database = database
        self.number = database.opened
        self.used = True
        self.state = "open"


class Connection(Session):
    """Another view of one call, which has to be awaited."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        self.state = "connected"
        return self


class Store:
    """What the fake ``store`` plugin opens."""


async def _commit(session: Session) -> None:
    database = session.database
    database.events.append(f"commit {session.number}")
    if database.gate is not None:
        await database.gate.wait()
    if database.fail_commit is not None:
        raise database.fail_commit
    session.state = "committed"
    database.events.append(f"committed {session.number}")


async def _close(session: Session) -> None:
    session.database.events.append(f"close {session.number}")
    if session.database.close_gate is not None:
        await session.database.close_gate.wait()
    if session.database.fail_close is not None:
        raise session.database.fail_close
    if session.state != "committed":
        session.state = "rolled back"


def _open(resource: Any) -> Callable[[Any, Any], AbstractAsyncContextManager[Any]]:
    @asynccontextmanager
    async def open_it(_config: Any, _host: Any) -> AsyncIterator[Any]:
        yield resource()

    return open_it


async def _check(_resource: Any) -> None:
    return None


SQL: Plugin[NoSettings, Database] = Plugin(
    name="sql",
    config=NoSettings,
    open=_open(Database),
    check=_check,
    provides={
        Database: lambda database: database,
        Engine: Engine,
        Session: PerCall(
            open=Session,
            commit=_commit,
            close=_close,
            in_use=lambda session: session.used,
            conflicts=frozenset({Connection}),
        ),
        Connection: PerCall(open=Connection, commit=_commit, close=_close),
    },
)

STORE: Plugin[NoSettings, Store] = Plugin(
    name="store",
    config=NoSettings,
    open=_open(Store),
    check=_check,
    provides={Store: lambda store: store},
    critical=False,
)

PLUGINS: dict[str, Plugin[Any, Any]] = {"sql": SQL, "store": STORE}


# From module to call


class FakeApp:
    """Stands in for the runtime's App."""


def plan_of(*modules: ModuleType | str, manifest: Manifest | None = None, **options: Any) -> Plan:
    """The plan for these modules."""
    manifest = manifest or shop()
    plugins = {item.prefix: PLUGINS[item.type] for item in manifest.plugins if item.type in PLUGINS}
    options = {"allow_unimplemented": True, "app_type": FakeApp, **options}
    return bind(load_handlers(modules), manifest, plugins, **options)


def open_registry(manifest: Manifest) -> Registry:
    """Every plugin of the manifest, opened and ready."""
    resources: dict[str, Callable[[], Any]] = {"sql": Database, "store": Store}
    instances = {}
    for item in manifest.plugins:
        plugin = PLUGINS[item.type]
        critical = plugin.critical if item.critical is None else item.critical
        instances[item.prefix] = instance = Instance(
            item.prefix, plugin, config=NoSettings(), critical=critical, resource=resources[item.type]()
        )
        instance.state = PluginState.READY
    return Registry(instances)


@attrs.frozen
class Running:
    """A connected plan."""

    dispatcher: Dispatcher
    registry: Registry
    app: FakeApp

    @property
    def database(self) -> Database:
        """The resource under ``pgsql``."""
        resource: Database = self.registry["pgsql"].resource
        return resource

    def endpoint(self, method: str) -> Endpoint:
        """The endpoint of a method of the UserService."""
        return self.dispatcher.endpoints[f"/shop.v1.UserService/{method}"]

    def request(self, method: str, **fields: Any) -> Any:
        """A message of the method's request class."""
        return self.endpoint(method).request_class(**fields)

    def start(self, method: str, request: Any, **options: Any) -> Any:
        """Begin a call: a coroutine, or an async generator for streamed replies; both give messages."""
        endpoint = self.endpoint(method)
        decode_reply: Any = endpoint.reply_class.FromString

        def encode(reply: Any) -> Any:
            return decode_reply(reply.SerializeToString())

        serve = endpoint.serve(Codec(decode=endpoint.request_class.FromString, encode=encode))
        payload: Any
        if endpoint.declaration.cardinality.client_streaming:
            payload = _payloads(request)
        else:
            payload = request if isinstance(request, bytes) else request.SerializeToString()
        return serve(LocalCall(endpoint.declaration, payload, **options))

    async def call(self, method: str, request: Any = None, **fields: Any) -> Any:
        """Call a method with one reply."""
        return await self.start(method, self.request(method, **fields) if request is None else request)

    async def stream(self, method: str, request: Any = None, **fields: Any) -> list[Any]:
        """Call a method that streams replies, and read all of them."""
        given = self.request(method, **fields) if request is None else request
        return [reply async for reply in self.start(method, given)]


async def _payloads(requests: Any) -> AsyncIterator[bytes]:
    for request in requests:
        yield request if isinstance(request, bytes) else request.SerializeToString()


class LocalCall(Context):
    """A call without a server."""

    __slots__ = ("_pairs",)

    def __init__(self, method: MethodDeclaration, request: Any, pairs: MetadataPairs = ()) -> None:
        super().__init__(method, request)
        self._pairs = pairs

    def _read_metadata(self) -> MetadataPairs:
        return self._pairs

    def time_remaining(self) -> float | None:
        """None."""
        return None

    @property
    def peer(self) -> str:
        """Nobody's address."""
        return "nowhere"

    async def send_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        """Not supported."""
        raise NotImplementedError


@asynccontextmanager
async def running(
    *modules: ModuleType,
    manifest: Manifest | None = None,
    settings: Mapping[type, object] | None = None,
    around: tuple[Callable[..., Awaitable[Any]], ...] = (),
    finish_timeout: float = 10.0,
    clients: Mapping[str, object] | None = None,
) -> AsyncIterator[Running]:
    """Bind the modules, open the fakes and connect; there must be no problem."""
    manifest = manifest or shop()
    plan = plan_of(*modules, manifest=manifest, clients=tuple(clients or ()))
    assert not plan.problems, "\n".join(map(str, plan.problems))
    registry, app = open_registry(manifest), FakeApp()
    connected = plan.connect(
        registry,
        app=app,
        settings=settings or {},
        around=around,
        finish_timeout=finish_timeout,
        clients=clients,
    )
    async with connected as dispatcher:
        yield Running(dispatcher, registry, app)
