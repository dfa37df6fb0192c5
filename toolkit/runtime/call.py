"""The transport-neutral call: what a server hands to dispatch, and what a handler sees of it."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import structlog

from toolkit.errors import Abort, Code
from toolkit.manifest import MethodDeclaration

__all__ = ["Context", "Metadata", "MetadataPairs"]

#: Metadata as it travels: keys in lower case, ``bytes`` values under keys that end in ``-bin``.
MetadataPairs = Sequence[tuple[str, str | bytes]]


class Metadata(Mapping[str, str | bytes]):
    """Metadata of a call; keys are case-insensitive, ``[]`` and ``get`` give a key's first value."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: MetadataPairs) -> None:
        self._pairs = pairs

    def __getitem__(self, key: str) -> str | bytes:
        key = key.lower()
        for name, value in self._pairs:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(dict(self._pairs))

    def get_all(self, key: str) -> list[str | bytes]:
        """All values of a key, in the order in which they arrived."""
        key = key.lower()
        return [value for name, value in self._pairs if name == key]

    def pairs(self) -> MetadataPairs:
        """Every (key, value) as it arrived, repeated keys included."""
        return self._pairs

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"Metadata({', '.join(self)})"


class Context(abc.ABC):
    """One call, over whatever protocol it came.

    A server subclasses it with what only its engine knows; handlers take it as their
    second positional parameter, middlewares as their first.
    """

    __slots__ = ("_after_commit", "_log", "_metadata", "_scope", "method", "request", "trailing_metadata")

    def __init__(self, method: MethodDeclaration, request: Any) -> None:
        #: The manifest's declaration of the method that is called.
        self.method = method
        #: The request message, or for client streams an async iterator of them. Until
        #: dispatch has decoded it, the bytes that the server received.
        self.request: Any | AsyncIterator[Any] = request
        #: Sent after the reply; None until something is added.
        self.trailing_metadata: list[tuple[str, str | bytes]] | None = None
        self._metadata: Metadata | None = None
        self._log: structlog.typing.FilteringBoundLogger | None = None
        self._after_commit: list[Callable[[], Awaitable[object] | None]] | None = None
        #: Dispatch's own: the call-scoped objects, where the method needs any.
        self._scope: Any = None

    # What the engine knows.

    @abc.abstractmethod
    def _read_metadata(self) -> MetadataPairs: ...

    @abc.abstractmethod
    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None when it set none."""

    @property
    @abc.abstractmethod
    def peer(self) -> str:
        """The caller's address as the transport knows it, e.g. ``ipv4:127.0.0.1:51234``."""

    @abc.abstractmethod
    async def send_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        """Send initial metadata now, before the first reply; at most once a call."""

    # What every transport shares.

    @property
    def metadata(self) -> Metadata:
        """The caller's metadata (request headers)."""
        if self._metadata is None:
            self._metadata = Metadata(self._read_metadata())
        return self._metadata

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger bound to this call's method."""
        if self._log is None:
            self._log = structlog.get_logger("toolkit.call").bind(rpc_method=self.method.path)
        return self._log

    def add_trailing_metadata(self, *pairs: tuple[str, str | bytes]) -> None:
        """Add metadata that is sent with the status, after the last reply."""
        if self.trailing_metadata is None:
            self.trailing_metadata = []
        self.trailing_metadata.extend(pairs)

    def after_commit(self, function: Callable[[], Awaitable[object] | None]) -> None:
        """Run ``function`` once everything the call opened is committed, and not at all if it failed.

        It runs before the reply is sent. What it raises is logged and no longer fails the
        call: the work is done.
        """
        if self._after_commit is None:
            self._after_commit = []
        self._after_commit.append(function)

    def abort(self, code: Code, message: str = "", *, details: Sequence[Any] = ()) -> NoReturn:
        """End the call with this status: the same as ``raise Abort(...)``."""
        raise Abort(code, message, details=details)
