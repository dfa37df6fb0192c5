"""The public test kit: a service in the test's own process, and real servers to run it on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.testing.app import TestApp, running_app

__all__ = ["TestApp", "running_app"]


def __getattr__(name: str) -> Any:
    # pytest imports this package in every project that has toolkit installed, used or not.
    if name not in __all__:
        raise AttributeError(f"module 'toolkit.testing' has no attribute {name!r}")
    from toolkit.testing import app

    return getattr(app, name)
