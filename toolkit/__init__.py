"""A service from its manifest: declare it in a .proto, write its handlers, run it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import toolkit._lean  # noqa: F401 -- before anything imports structlog

if TYPE_CHECKING:
    from toolkit.errors import Abort, Code
    from toolkit.runtime.app import App
    from toolkit.runtime.call import Context
    from toolkit.runtime.marks import Named, component, middleware, on_start, on_stop
    from toolkit.runtime.registry import Registry
    from toolkit.runtime.service import Service
    from toolkit.runtime.settings import settings

__all__ = [
    "Abort",
    "App",
    "Code",
    "Context",
    "Named",
    "Registry",
    "Service",
    "component",
    "middleware",
    "on_start",
    "on_stop",
    "settings",
]

# Imported when asked for: `toolkit call` and `from toolkit.manifest import …` need none of them.
_HOMES = {
    "Abort": "toolkit.errors",
    "App": "toolkit.runtime.app",
    "Code": "toolkit.errors",
    "Context": "toolkit.runtime.call",
    "Named": "toolkit.runtime.marks",
    "Registry": "toolkit.runtime.registry",
    "Service": "toolkit.runtime.service",
    "component": "toolkit.runtime.marks",
    "middleware": "toolkit.runtime.marks",
    "on_start": "toolkit.runtime.marks",
    "on_stop": "toolkit.runtime.marks",
    "settings": "toolkit.runtime.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
