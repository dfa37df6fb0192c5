"""A TCP proxy that breaks connections in the ways in which networks and servers do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

__all__ = ["FaultProxy"]

_HOST = "127.0.0.1"
_CHUNK = 65536


class FaultProxy:
    """Stands on a loopback port before a server, and forwards until it is told otherwise.

    ::

        async with FaultProxy("127.0.0.1", server.port) as proxy:
            client = connect(proxy.host, proxy.port)
            await proxy.stall()

    Each fault holds for the connections that are open and for new ones, and replaces the
    one before it; :meth:`forward` ends it. The port stays the same throughout.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.host = _HOST
        self.port = 0
        #: How many connections were accepted so far.
        self.accepted = 0
        self._listener: asyncio.Server | None = None
        #: Keeps the port while nothing listens on it: connections are refused.
        self._reserved: socket.socket | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._drops_replies = False
        self._resets = False

    async def __aenter__(self) -> Self:
        self._reserve()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._reserved is not None:
            self._reserved.close()
        await self._end_connections(reset=False)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def forward(self) -> None:
        """Forward everything, what was held back included: no fault."""
        await self._set()

    async def stall(self) -> None:
        """Accept, and forward nothing either way: a black hole."""
        await self._set(flowing=False)

    async def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long, either way."""
        await self._set(delay=seconds)

    async def drop_replies(self) -> None:
        """Forward what the client sends, and lose what the server answers."""
        await self._set(drops_replies=True)

    async def reset(self) -> None:
        """Reset every open connection (RST), and each new one as soon as it is accepted."""
        await self._set(resets=True)
        await self._end_connections(reset=True)

    async def cut(self) -> None:
        """Close every open connection, and refuse new ones."""
        await self._set(listening=False)
        await self._end_connections(reset=False)

    async def _set(
        self,
        *,
        flowing: bool = True,
        delay: float = 0.0,
        drops_replies: bool = False,
        resets: bool = False,
        listening: bool = True,
    ) -> None:
        self._delay, self._drops_replies, self._resets = delay, drops_replies, resets
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()
        if listening and self._listener is None:
            await self._listen()
        elif not listening and self._listener is not None:
            self._listener.close()
            self._listener = None
            self._reserve()

    def _reserve(self) -> None:
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self.host, self.port))
        self.port = self._reserved.getsockname()[1]

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, sock=self._reserved)
        self._reserved = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._resets:
            _abort(writer, reset=True)
            return
        writers = [writer]
        task = asyncio.get_running_loop().create_task(self._connect(reader, writers))
        self._connections[task] = writers
        task.add_done_callback(self._connections.pop)

    async def _connect(self, client: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        """Join one accepted connection with one to the server, until either side ends."""
        with contextlib.suppress(OSError):
            try:
                await self._flowing.wait()
                server, to_server = await asyncio.open_connection(*self._target)
                writers.append(to_server)
                directions = {
                    asyncio.create_task(self._pump(client, to_server, replies=False)),
                    asyncio.create_task(self._pump(server, writers[0], replies=True)),
                }
                try:
                    await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for direction in directions:
                        direction.cancel()
                    await asyncio.gather(*directions, return_exceptions=True)
            finally:
                for writer in writers:
                    writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(_CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            if not (replies and self._drops_replies):
                writer.write(data)
                await writer.drain()

    async def _end_connections(self, *, reset: bool) -> None:
        tasks = list(self._connections)
        for writers in self._connections.values():
            for writer in writers:
                _abort(writer, reset=reset)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _abort(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and not writer.is_closing():
        # A linger time of zero turns the close into a reset (socket(7)).
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
