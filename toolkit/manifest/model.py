"""What a manifest says, as frozen values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

__all__ = [
    "AppDeclaration",
    "Cardinality",
    "ClientDeclaration",
    "HttpRule",
    "Location",
    "Manifest",
    "MethodDeclaration",
    "PluginDeclaration",
    "ProxyTarget",
    "RouteDeclaration",
    "ServerKind",
    "ServiceDeclaration",
]


@attrs.frozen
class Location:
    """A place in a ``.proto``; ``line`` (from 1) is None where the set has no source info."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class ServerKind(enum.IntEnum):
    """``toolkit.Runtime.Server``: the faces under which a service asks to be served."""

    GRPC = 0
    HTTP = 1
    WEBSOCKET_PROXY = 2
    WEBSOCKET = 3


class Cardinality(enum.Enum):
    """How many messages travel each way."""

    UNARY_UNARY = "unary"
    UNARY_STREAM = "server streaming"
    STREAM_UNARY = "client streaming"
    STREAM_STREAM = "bidirectional streaming"

    @property
    def client_streaming(self) -> bool:
        """Whether the request is a stream."""
        return self in (Cardinality.STREAM_UNARY, Cardinality.STREAM_STREAM)

    @property
    def server_streaming(self) -> bool:
        """Whether the reply is a stream."""
        return self in (Cardinality.UNARY_STREAM, Cardinality.STREAM_STREAM)


@attrs.frozen(kw_only=True)
class PluginDeclaration:
    """``option (toolkit.plugins)``, or an entry of ``(toolkit.runtime).plugins``."""

    prefix: str
    #: The plugin's type name as written, e.g. ``postgres_gorm``.
    type: str
    #: None leaves it to the plugin's own default.
    critical: bool | None = None
    #: Defaults below the environment, by setting name as written in the manifest.
    settings: Mapping[str, str] = attrs.field(factory=dict)
    needs: tuple[str, ...] = ()
    location: Location
    #: Full names of the services whose handlers may see it; empty: all that are served.
    services: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class ClientDeclaration:
    """``option (toolkit.services)``: another service that handlers may call by this name."""

    name: str
    package: str = ""
    location: Location


@attrs.frozen(kw_only=True)
class AppDeclaration:
    """``option (toolkit.app)``: what the service is called and where its handlers are."""

    name: str = ""
    env_prefix: str | None = None
    version: str = ""
    description: str = ""
    handlers: tuple[str, ...] = ()
    location: Location


@attrs.frozen(kw_only=True)
class ProxyTarget:
    """Where a proxied route leads: a client's name and a full method path."""

    service: str
    method: str


@attrs.frozen(kw_only=True)
class RouteDeclaration:
    """``option (toolkit.route)`` of a method."""

    middlewares: tuple[str, ...] = ()
    exclude_global_middlewares: tuple[str, ...] = ()
    http_proxy: ProxyTarget | None = None
    websocket_proxy: ProxyTarget | None = None
    websocket: bool = False
    #: Where the option is set; None for a method without one.
    location: Location | None = None

    @property
    def is_routed(self) -> bool:
        """Whether the route answers by itself, so that no handler is needed."""
        return self.http_proxy is not None or self.websocket_proxy is not None or self.websocket


@attrs.frozen(kw_only=True)
class HttpRule:
    """One binding of ``google.api.http``; ``additional_bindings`` are listed beside it."""

    verb: str
    path: str
    body: str = ""
    response_body: str = ""


@attrs.frozen(kw_only=True)
class MethodDeclaration:
    """One RPC."""

    name: str
    #: ``shop.v1.UserService``
    service: str
    #: Full names of the message types, without a leading dot.
    input_type: str
    output_type: str
    cardinality: Cardinality
    route: RouteDeclaration = attrs.field(factory=RouteDeclaration)
    http: tuple[HttpRule, ...] = ()
    #: ``idempotency_level = NO_SIDE_EFFECTS``: it only reads.
    side_effect_free: bool = False
    #: ``idempotency_level = IDEMPOTENT`` or ``NO_SIDE_EFFECTS``: calling it twice does no harm.
    idempotent: bool = False
    #: The comment above the method, when the set has source info.
    comment: str = ""
    location: Location

    @property
    def path(self) -> str:
        """``/shop.v1.UserService/CreateUser``: the method's name on the wire."""
        return f"/{self.service}/{self.name}"


@attrs.frozen(kw_only=True)
class ServiceDeclaration:
    """One service of the set, served or not."""

    full_name: str
    methods: tuple[MethodDeclaration, ...]
    served: bool
    #: What ``(toolkit.runtime).servers`` lists; empty when it says nothing (gRPC is then served).
    servers: tuple[ServerKind, ...] = ()
    #: Whether ``(toolkit.runtime)`` is set on it at all.
    has_runtime: bool = False
    #: ``(toolkit.server).middlewares``
    middlewares: tuple[str, ...] = ()
    comment: str = ""
    location: Location

    @property
    def name(self) -> str:
        """The last part of the full name."""
        return self.full_name.rpartition(".")[2]

    def method(self, name: str) -> MethodDeclaration | None:
        """The method of exactly this name, or None."""
        return next((method for method in self.methods if method.name == name), None)


@attrs.frozen(kw_only=True, eq=False)
class Manifest:
    """Everything that a descriptor set declares, enumerable before anything opens."""

    #: All services of the set, in file order; ``served`` tells which are ours.
    services: tuple[ServiceDeclaration, ...]
    #: The plugins to open, one for each prefix, in declaration order.
    plugins: tuple[PluginDeclaration, ...]
    #: The other services that handlers may call, from the files that declare a served service.
    clients: tuple[ClientDeclaration, ...]
    #: Merged from the files that declare a served service; None when none sets it.
    app: AppDeclaration | None
    #: Names of all files, dependencies first.
    files: tuple[str, ...]
    #: Holds exactly this manifest's files; nothing is added to protobuf's default pool.
    pool: DescriptorPool = attrs.field(repr=False)
    _locate: Callable[[str], Location | None] = attrs.field(repr=False, default=lambda _full_name: None)

    @property
    def served(self) -> tuple[ServiceDeclaration, ...]:
        """The services that this process serves."""
        return tuple(service for service in self.services if service.served)

    def service(self, full_name: str) -> ServiceDeclaration | None:
        """The service of this full name, served or not."""
        return next((service for service in self.services if service.full_name == full_name), None)

    def plugin(self, prefix: str) -> PluginDeclaration | None:
        """The plugin declared under this prefix."""
        return next((plugin for plugin in self.plugins if plugin.prefix == prefix), None)

    def methods(self) -> Iterator[MethodDeclaration]:
        """All methods of the served services."""
        for service in self.served:
            yield from service.methods

    def message(self, full_name: str) -> type[Message]:
        """The message class of this full name, built from the manifest's own pool.

        Raises:
            KeyError: the set has no such message.
        """
        message_class: Any = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))
        return message_class  # type: ignore[no-any-return]

    def location_of(self, full_name: str) -> Location | None:
        """Where the message, field, enum, service or method ``full_name`` is declared; None when nothing is."""
        return self._locate(full_name)
