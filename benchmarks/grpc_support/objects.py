"""The three objects that both servers' handlers use: what a repository, a limit and a counter cost at least."""

from __future__ import annotations

from toolkit import component


@component
class Greetings:
    def __init__(self) -> None:
        self._by_tenant = {"acme": "Hello", "other": "Good day"}

    def of(self, tenant: str) -> str:
        return self._by_tenant[tenant]


@component
class Limits:
    def __init__(self) -> None:
        self.most_times = 10


@component
class Counter:
    def __init__(self) -> None:
        self._count = 0

    def count(self) -> int:
        self._count += 1
        return self._count
