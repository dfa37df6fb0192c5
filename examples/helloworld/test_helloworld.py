"""The service in the test's own process."""

from pathlib import Path

import pytest

from toolkit.cli.compile import compile_protos
from toolkit.testing import running_app

HERE = Path(__file__).parent


async def test_greetings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One greeting, or three in a stream."""
    monkeypatch.syspath_prepend(str(HERE))
    async with running_app(compile_protos([HERE / "helloworld.proto"])) as service:
        assert (await service.call("SayHello", {"name": "Ada"})).message == "Hello, Ada!"
        replies = await service.call("SayHellos", {"name": "Ada"})
        assert [reply.message for reply in replies] == ["Hello, Ada!", "Bonjour, Ada!", "Salut, Ada!"]
