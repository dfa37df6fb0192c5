"""Real backing servers on loopback ports, for ``--dev`` and for tests."""

from toolkit.devservices.server import RunningServer, Server
from toolkit.devservices.services import SERVERS, DevServices, ServerStarted, find_needs, open_server
from toolkit.devservices.supervised import ExecutionError

__all__ = [
    "SERVERS",
    "DevServices",
    "ExecutionError",
    "RunningServer",
    "Server",
    "ServerStarted",
    "find_needs",
    "open_server",
]
