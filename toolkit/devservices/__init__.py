"""Real backing servers on loopback ports, for ``--dev`` and for tests."""

from toolkit.devservices.server import RunningServer, Server
from toolkit.devservices.services import SERVERS, ServerStarted, open_dev_servers, open_server
from toolkit.devservices.supervised import ExecutionError

__all__ = [
    "SERVERS",
    "ExecutionError",
    "RunningServer",
    "Server",
    "ServerStarted",
    "open_dev_servers",
    "open_server",
]
