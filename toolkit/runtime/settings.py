"""Settings beside the plugins': the app's own classes, and those of the runtime itself."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, TypeVar, dataclass_transform

import attrs
from attrs import validators

from toolkit.plugins.setting import setting

__all__ = ["RESERVED_FAMILIES", "CommonSettings", "RuntimeSettings", "is_settings", "settings"]

T = TypeVar("T")

_MARK: Final = "__toolkit_settings__"
#: gRPC keeps its message sizes in a C int.
_LARGEST_MESSAGE: Final = 2**31 - 1

#: Names that begin with one of these, after the service prefix, belong to the runtime, read or not yet.
RESERVED_FAMILIES: Final = ("GRPC_SERVER", "HTTP_SERVER", "PROBES", "LOG", "SHUTDOWN")


# Without field specifiers: to a type checker `setting(5, help=…)` is then a default like any
# other, while those of PEP 681 know a default only by keyword.
@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make ``cls`` a settings class of the app, read from the environment under the service prefix.

    ::

        @settings
        class Limits:
            max_orders: int = setting(5, help="How many open orders a user may have.")

    Whoever has a keyword-only parameter annotated ``Limits`` is given the one instance.
    A plain class becomes a frozen, keyword-only attrs class; an attrs class stays what it is.
    """
    if dataclasses.is_dataclass(cls):
        raise TypeError(f"@settings takes a plain class or an attrs class, and {cls.__qualname__} is a dataclass")
    if "__attrs_attrs__" not in vars(cls):
        cls = attrs.frozen(kw_only=True, auto_attribs=True)(cls)
    setattr(cls, _MARK, True)
    return cls


def is_settings(cls: object) -> bool:
    """Whether ``cls`` itself was decorated with :func:`settings` (a subclass is decorated anew)."""
    return isinstance(cls, type) and _MARK in vars(cls)


def _shorter_than_timeout(instance: RuntimeSettings, _field: attrs.Attribute[float], value: float) -> None:
    if value >= instance.shutdown_timeout:
        raise ValueError(f"must be shorter than SHUTDOWN_TIMEOUT, which is {instance.shutdown_timeout:g} s")


@attrs.frozen(kw_only=True)
class RuntimeSettings:
    """What the runtime itself reads; each name stands under the service prefix."""

    grpc_server_listen: str = setting("0.0.0.0", help="Address on which gRPC is served.")  # noqa: S104 -- in a container
    grpc_server_port: int = setting(
        9000,
        help="Port on which gRPC is served; 0 picks a free one.",
        validator=[validators.ge(0), validators.le(65535)],
    )
    grpc_server_max_receive_message_size: int = setting(
        16 * 1024**2,
        help="Largest request message.",
        unit="bytes",
        validator=[validators.gt(0), validators.le(_LARGEST_MESSAGE)],
    )
    grpc_server_max_send_message_size: int = setting(
        16 * 1024**2,
        help="Largest reply message.",
        unit="bytes",
        validator=[validators.gt(0), validators.le(_LARGEST_MESSAGE)],
    )
    grpc_server_max_concurrent_calls: int = setting(
        1000,
        help="Calls served at a time; more are refused with RESOURCE_EXHAUSTED.",
        validator=validators.gt(0),
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = setting(
        "info", help="The least severe events that are logged."
    )
    log_format: Literal["auto", "console", "json"] = setting(
        "auto", help="How events are written; auto is console on a terminal and json elsewhere."
    )
    shutdown_timeout: float = setting(
        28.0,
        help="How long a stop may take in all.",
        unit="seconds",
        validator=validators.gt(0),
    )
    shutdown_drain_delay: float = setting(
        3.0,
        help="How long calls are still taken after health turned NOT_SERVING, for balancers to notice.",
        unit="seconds",
        validator=_shorter_than_timeout,
    )


@attrs.frozen(kw_only=True)
class CommonSettings:
    """What every plugin has beside its own settings; each name stands under the plugin's prefix."""

    critical: bool = setting(True, help="Whether the service cannot do without it.")
    startup_timeout: float = setting(
        15.0,
        help="How long a critical plugin may take until its first check passes.",
        unit="seconds",
        validator=validators.gt(0),
    )
    check_interval: float = setting(
        5.0,
        help="Pause between two health checks.",
        unit="seconds",
        validator=validators.gt(0),
    )
    check_timeout: float = setting(
        2.0,
        help="How long one health check may take.",
        unit="seconds",
        validator=validators.gt(0),
    )
