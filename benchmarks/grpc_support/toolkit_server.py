"""The greeter as toolkit serves it; prints its port, and serves until stdin ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from benchmarks.grpc_support.serving import announce_and_wait
from toolkit.manifest import read_manifest
from toolkit.runtime.app import App
from toolkit.runtime.log import configure_logging
from toolkit.runtime.setup import prepare


async def serve(descriptor_set: Path) -> None:
    configure_logging(level="warning", format="json")
    setup = prepare(
        read_manifest(descriptor_set.read_bytes()),
        handlers=["benchmarks.grpc_support.handlers"],
        environ={"GREETER_GRPC_SERVER_LISTEN": "127.0.0.1", "GREETER_GRPC_SERVER_PORT": "0"},
    )
    async with App(setup) as app:
        await announce_and_wait(int(app.grpc_address.rpartition(":")[2]))


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(Path(sys.argv[1])))
