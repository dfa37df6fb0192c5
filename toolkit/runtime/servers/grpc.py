"""The gRPC server: binds a port, finds the handler of each call, and stops without losing one."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from typing import Any

import attrs
import grpc
from grpc import aio

from toolkit.errors import Code, Problem, StartupError
from toolkit.manifest import Manifest
from toolkit.runtime.dispatch import Endpoint
from toolkit.runtime.health import Health
from toolkit.runtime.servers.grpc_builtin import BuiltinMethods
from toolkit.runtime.servers.grpc_call import Calls, Handler, abort_handler, endpoint_handler
from toolkit.runtime.servers.grpc_health import add_health
from toolkit.runtime.servers.grpc_reflection import add_reflection

__all__ = ["GrpcServer", "GrpcServerSettings"]

#: How long clients may take to read the end of streams that are the server's own, in seconds.
_END_TIMEOUT = 1.0
#: How long handlers that were cancelled at the end of the grace may take to unwind, in seconds.
_UNWIND_TIMEOUT = 5.0


@attrs.frozen(kw_only=True)
class GrpcServerSettings:
    """Where to listen and what to accept."""

    #: An address or a host's name.
    listen: str
    #: 0 picks a free one.
    port: int
    #: In bytes, of one message.
    max_receive_message_size: int
    max_send_message_size: int
    #: Further calls end with RESOURCE_EXHAUSTED; health and reflection always answer.
    max_concurrent_calls: int
    #: The full name of the variable that sets the port, for reports.
    port_variable: str = "GRPC_SERVER_PORT"


class GrpcServer:
    """Serves endpoints, health and reflection on one port."""

    def __init__(
        self, settings: GrpcServerSettings, manifest: Manifest, endpoints: Mapping[str, Endpoint], health: Health
    ) -> None:
        self._settings = settings
        self._server: aio.Server | None = None
        self._port = 0
        self._calls = Calls(settings.max_concurrent_calls)
        self._builtin = BuiltinMethods()
        add_health(self._builtin, health)
        add_reflection(self._builtin, manifest)
        self._handlers = {
            path: endpoint_handler(endpoint, self._calls, settings.max_send_message_size)
            for path, endpoint in endpoints.items()
        }

    @property
    def address(self) -> str:
        """``host:port`` as bound; empty before the start."""
        return _join(self._settings.listen, self._port) if self._server else ""

    async def start(self) -> None:
        """Bind the port and take calls.

        Raises:
            StartupError: the port is taken, or the address is not one of this machine's.
        """
        settings = self._settings
        await self._probe()
        server = aio.server(
            handlers=(_Router(self._handlers, self._builtin.handlers, self._calls),),
            options=(
                # By default a second process silently shares the port, and takes every other call.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", settings.max_receive_message_size),
                ("grpc.max_send_message_length", settings.max_send_message_size),
            ),
        )
        try:
            self._port = server.add_insecure_port(_join(settings.listen, settings.port))
        except RuntimeError:
            # Somebody was quicker.
            await self._probe()
            raise self._cannot_listen_there("the gRPC engine could not bind it") from None
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> None:
        """Take no further call, let those under way finish, and cancel what is left after ``grace`` seconds.

        Returns once the ``finally`` blocks of cancelled handlers have run, which they may
        take some seconds for.
        """
        if self._server is None:
            return
        stopping = asyncio.ensure_future(self._server.stop(grace))
        # Begun first, so that no further stream is taken once the open ones have ended.
        await asyncio.sleep(0)
        if not await self._builtin.end(_END_TIMEOUT) and await self._calls.wait_idle(grace):
            # Nothing is left but streams of health and reflection whose clients do not read.
            await self._server.stop(None)
        await stopping
        await self._calls.wait_idle(_UNWIND_TIMEOUT)

    async def _probe(self) -> None:
        # Of a bind that fails, grpc says no cause, and prints lines of its own.
        settings = self._settings
        failures: list[int] = []
        addresses = await self._resolve()
        for family, kind, protocol, _, address in addresses:
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                    probe.listen()
            except OSError as error:
                failures.append(error.errno or 0)
        variable = settings.port_variable
        fix = f"set {variable} to a free port; 0 picks one"
        if errno.EADDRINUSE in failures:
            raise self._cannot_listen(variable, "the port is in use by another process", fix)
        if errno.EACCES in failures:
            raise self._cannot_listen(variable, "this user may not listen on the port", fix)
        # A name may stand for addresses of which this machine has only some.
        if len(failures) == len(addresses):
            reasons = {_REASONS.get(failure) or os.strerror(failure).lower() for failure in failures}
            raise self._cannot_listen_there("; ".join(sorted(reasons)))

    async def _resolve(self) -> list[tuple[Any, ...]]:
        host, port = self._settings.listen, self._settings.port
        try:
            try:
                return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            except socket.gaierror:
                return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise self._cannot_listen_there("the host's name is not known here") from None

    def _cannot_listen_there(self, reason: str) -> StartupError:
        variable = self._settings.port_variable.removesuffix("PORT") + "LISTEN"
        fix = f"set {variable} to an address of this machine, or to 0.0.0.0 for all of them"
        return self._cannot_listen(variable, reason, fix)

    def _cannot_listen(self, variable: str, reason: str, fix: str) -> StartupError:
        what = f"cannot listen on {_join(self._settings.listen, self._settings.port)}: {reason}"
        return StartupError([Problem(code="config.cannot_listen", where=variable, what=what, fix=fix)])


_REASONS = {errno.EADDRNOTAVAIL: "the address is not one of this machine's"}


class _Router(grpc.GenericRpcHandler):
    """Finds a call's handler by its path; what is not found or not to be taken ends with its status."""

    def __init__(self, handlers: Mapping[str, Handler], builtin: Mapping[str, Handler], calls: Calls) -> None:
        self._handlers = handlers
        self._builtin = builtin
        self._calls = calls
        self._services = {path.rpartition("/")[0] for path in (*handlers, *builtin)}
        self._refuse = abort_handler(Code.RESOURCE_EXHAUSTED, calls.refusal)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None:
            return self._builtin.get(path) or self._unknown(path)
        # Refused here already, so that a server which has enough to do does not read the request.
        return handler if self._calls.active < self._calls.limit else self._refuse

    def _unknown(self, path: str) -> Handler:
        service, _, method = path.rpartition("/")
        if service in self._services:
            return abort_handler(Code.UNIMPLEMENTED, f"the service {service[1:]} has no method {method!r} here")
        return abort_handler(Code.UNIMPLEMENTED, f"the service {service[1:]!r} is not served here")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
