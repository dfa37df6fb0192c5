"""Components are built by injection: once at the start, or for every call."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from tests.runtime.shop import running
from toolkit.errors import Abort, StartupError

WriteModule = Callable[..., ModuleType]


async def test_components_are_built_once_in_order_and_left_in_reverse(module: WriteModule) -> None:
    """A component is built after those that it takes, once, also if nobody takes it; it is left before them."""
    users = module(
        """
        log = []

        class Open:
            async def __aenter__(self): log.append(f"enter {type(self).__name__}"); return self
            async def __aexit__(self, *_): log.append(f"leave {type(self).__name__}")

        @component
        class Controller(Open):
            def __init__(self, repository: Repository): log.append("build Controller")

        @component
        class Repository(Open):
            def __init__(self, pgsql: Engine): log.append("build Repository")

        @component
        class Alone:
            def __init__(self): log.append("build Alone")

        @users.rpc
        async def create_user(request, *, controller: Controller, repository: Repository): return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        await service.call("CreateUser")
    assert users.log == [
        "build Repository",
        "enter Repository",
        "build Controller",
        "enter Controller",
        "build Alone",
        "leave Controller",
        "leave Repository",
    ]


async def test_attrs_classes_and_dataclasses_are_components(module: WriteModule) -> None:
    """The fields of an attrs class or a dataclass are injected like parameters, also inherited ones."""
    module(
        """
        @attrs.define
        class Parent:
            pgsql: Engine
            _hidden: Store = attrs.field(alias='sessions')
        """,
        "parent",
    )
    users = module(
        """
        import dataclasses
        from parent import Parent

        @component
        @attrs.define
        class Repository(Parent):
            retries: int = 3

        @component
        @dataclasses.dataclass
        class Users:
            repository: Repository
            sessions: Store

        @users.rpc
        async def create_user(request, *, service: Users):
            repository = service.repository
            assert repository._hidden is service.sessions
            return {"id": repository.retries, "name": type(repository.pgsql).__name__}
        """
    )
    async with running(users) as service:
        reply = await service.call("CreateUser")
    assert (reply.id, reply.name) == (3, "Engine")


async def test_a_failing_constructor_fails_the_start_and_leaves_what_was_entered(module: WriteModule) -> None:
    """The report names the component and its error; components entered before are left, in reverse."""
    users = module(
        """
        log = []

        @component
        class First:
            async def __aenter__(self): log.append("enter")
            async def __aexit__(self, *_): log.append("leave")

        @component
        class Second:
            def __init__(self, first: First):
                raise ValueError("no pool")
        """
    )
    with pytest.raises(StartupError) as caught:
        async with running(users):
            raise AssertionError("it must not start")
    assert str(caught.value) == "users.py:18 Second: the component could not be built: ValueError: no pool"
    assert isinstance(caught.value.__cause__, ValueError)
    assert users.log == ["enter", "leave"]


async def test_a_component_that_cannot_be_left_keeps_no_other_from_it(module: WriteModule) -> None:
    """All components are left, the first error is raised, and each is logged."""
    users = module(
        """
        log = []

        @component
        class First:
            async def __aenter__(self): ...
            async def __aexit__(self, *_): log.append("first")

        @component
        class Second:
            def __init__(self, first: First): ...
            async def __aenter__(self): ...
            async def __aexit__(self, *_): raise OSError("stuck")
        """
    )
    with capture_logs() as events, pytest.raises(OSError, match="stuck"):
        async with running(users):
            pass
    assert users.log == ["first"]
    assert [(event["event"], event["component"]) for event in events] == [("toolkit.component_stop_failed", "Second")]


async def test_a_stop_does_not_replace_the_error_that_led_to_it(module: WriteModule) -> None:
    """What ended the service is raised, even if a component fails to close after it."""
    users = module(
        """
        @component
        class First:
            async def __aenter__(self): ...
            async def __aexit__(self, *_): raise OSError("stuck")
        """
    )
    with capture_logs(), pytest.raises(KeyError, match="the cause"):
        async with running(users):
            raise KeyError("the cause")


# What belongs to a call


async def test_within_one_call_a_view_is_one_object(module: WriteModule) -> None:
    """Handler, repositories and middlewares of a call share its session; the next call has another."""
    users = module(
        """
        seen = []

        @component
        class Repository:
            def __init__(self, pgsql: Session): self.session = pgsql

        @component
        class Service_:
            def __init__(self, repository: Repository, pgsql: Session):
                self.repository, self.session = repository, pgsql

        @middleware
        async def note(call, next, *, pgsql: Session, repository: Repository):
            seen.append((pgsql, repository))
            return await next(call)

        @users.rpc
        async def create_user(request, context, *, pgsql: Session, service: Service_, repository: Repository):
            assert service.session is repository.session is pgsql
            assert service.repository is repository
            seen.append((pgsql, repository))
            return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        await service.call("CreateUser")
        first, inner, second, _ = users.seen
        assert first == inner
        assert first[0] is not second[0]
        assert service.database.events == ["commit 1", "committed 1", "close 1", "commit 2", "committed 2", "close 2"]


async def test_a_view_may_have_to_be_awaited(module: WriteModule) -> None:
    """A view whose opening is awaitable is injected when it is open."""
    users = module(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Connection):
            return {"name": pgsql.state}
        """
    )
    async with running(users) as service:
        assert (await service.call("CreateUser")).name == "connected"
        assert service.database.events == ["commit 1", "committed 1", "close 1"]


async def test_components_of_a_call_are_entered_and_left_with_it(module: WriteModule) -> None:
    """A component of the call is left before the commit, and sees the error of a call that failed."""
    users = module(
        """
        @component
        class Unit:
            def __init__(self, pgsql: Session): self.events = pgsql.database.events
            async def __aenter__(self): self.events.append("enter")
            async def __aexit__(self, kind, *_): self.events.append(f"leave {kind and kind.__name__}")

        @users.rpc
        async def create_user(request, *, unit: Unit):
            if request.name:
                raise Abort(Code.NOT_FOUND, "no")
            return {}
        """
    )
    async with running(users) as service:
        await service.call("CreateUser")
        assert service.database.events == ["enter", "leave None", "commit 1", "committed 1", "close 1"]
        service.database.events.clear()
        with pytest.raises(Abort):
            await service.call("CreateUser", name="x")
        assert service.database.events == ["enter", "leave Abort", "close 2"]


STUBBORN = """
    class Unit:
        def __init__(self, pgsql: Session): self.events = pgsql.database.events
        async def __aenter__(self): ...
        async def __aexit__(self, kind, *_):
            self.events.append(f"leave {type(self).__name__} {kind and kind.__name__}")
            raise OSError(type(self).__name__)

    @component
    class Inner(Unit): ...

    @component
    class Outer(Unit): ...

    @users.rpc
    async def create_user(request, *, outer: Outer, inner: Inner):
        if request.name:
            raise Abort(Code.NOT_FOUND, "no")
        return {}
"""


async def test_a_component_that_cannot_be_left_fails_its_call(module: WriteModule) -> None:
    """The first error of leaving is the call's, every component is left all the same, and nothing is committed."""
    async with running(module(STUBBORN)) as service:
        with capture_logs() as events, pytest.raises(Abort, match="internal error"):
            await service.call("CreateUser")
        assert service.database.events == ["leave Inner None", "leave Outer OSError", "close 1"]
        assert [(event["event"], str(event["exc_info"])) for event in events] == [("toolkit.call_failed", "Inner")]


async def test_a_component_that_cannot_be_left_does_not_hide_the_calls_own_error(module: WriteModule) -> None:
    """After a failure the call's error stands, and the log has what went wrong after it."""
    async with running(module(STUBBORN)) as service:
        with capture_logs() as events, pytest.raises(Abort, match="no"):
            await service.call("CreateUser", name="x")
        assert service.database.events == ["leave Inner Abort", "leave Outer Abort", "close 1"]
        assert [(event["event"], str(event["exc_info"])) for event in events] == [
            ("toolkit.component_leave_failed", "Inner")
        ]
