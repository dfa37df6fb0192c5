"""What the server written by hand and the clients have in common: they do as their parent says, and end with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator


async def read_lines() -> AsyncIterator[str]:
    """The lines of stdin, as they come."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def announce_and_wait(port: int) -> None:
    """Tell the parent where this server listens, and return when the parent ends it."""
    print(port, flush=True)
    async for _ in read_lines():
        pass
