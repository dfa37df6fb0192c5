"""Every report about a parameter says who wants what, what there is, and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runtime.shop import SHOP, shop

Problems = Callable[..., list[str]]

CASES = {
    "a misspelt prefix": (
        """
        @users.rpc
        async def create_user(request, *, sesions: Store): ...
        """,
        """\
users.py:11 create_user(*, sesions: Store): no plugin is declared under the prefix 'sesions'
    Store is provided by sessions (store)
  → name the parameter 'sessions', or annotate it `Annotated[Store, Named('sessions')]`""",
    ),
    "a misspelt prefix with a default": (
        """
        @users.rpc
        async def create_user(request, *, sesions: Store | None = None): ...
        """,
        """\
users.py:11 create_user(*, sesions: Store | None = None): no plugin is declared under the prefix 'sesions'
    Store is provided by sessions (store)
  → name the parameter 'sessions', or annotate it `Annotated[Store, Named('sessions')]`""",
    ),
    "a wrong type": (
        """
        @users.rpc
        async def create_user(request, *, pgsql: Store): ...
        """,
        """\
users.py:11 create_user(*, pgsql: Store): pgsql (sql) does not provide Store
    it provides Database, Engine, Session, Connection; Store is provided by sessions (store)
  → annotate it with one of those, or name the parameter 'sessions'""",
    ),
    "a type that nothing provides": (
        """
        @users.rpc
        async def create_user(request, *, sessions: int): ...
        """,
        """\
users.py:11 create_user(*, sessions: int): sessions (store) does not provide int
    it provides Store
  → annotate it with one of those""",
    ),
    "a component under a plugin's name": (
        """
        @component
        class Sessions: ...

        @users.rpc
        async def create_user(request, *, sessions: Sessions): ...
        """,
        """\
users.py:14 create_user(*, sessions: Sessions): sessions (store) does not provide Sessions
    it provides Store
  → annotate it with one of those; for the Sessions itself give the parameter a name that is no plugin's prefix""",
    ),
    "a union of two views": (
        """
        @users.rpc
        async def create_user(request, *, pgsql: Session | Engine): ...
        """,
        """\
users.py:11 create_user(*, pgsql: Session | Engine): pgsql (sql) does not provide Session | Engine
    it provides Database, Engine, Session, Connection
  → annotate it with one of those""",
    ),
    "no annotation": (
        """
        @users.rpc
        async def create_user(request, *, pgsql): ...
        """,
        """\
users.py:11 create_user(*, pgsql): 'pgsql' needs an annotation: the name picks the instance, the type picks the view
    pgsql (sql) provides Database, Engine, Session, Connection
  → annotate it, for example `pgsql: Database`""",
    ),
    "a name that means nothing": (
        """
        @users.rpc
        async def create_user(request, *, pgsq): ...
        """,
        """\
users.py:11 create_user(*, pgsq): nothing is declared under the name 'pgsq'
    declared: pgsql (sql), sessions (store), billing (a client)
  → did you mean 'pgsql'?""",
    ),
    "a class that is no component": (
        """
        class Repository: ...

        @users.rpc
        async def create_user(request, *, repository: Repository): ...
        """,
        """\
users.py:13 create_user(*, repository: Repository): nothing is declared under the name 'repository', \
and Repository is no component, no settings and nothing of the runtime's own
    declared: pgsql (sql), sessions (store), billing (a client)
  → declare a plugin under this prefix, or mark Repository with @component""",
    ),
    "a Named that means nothing": (
        """
        @users.rpc
        async def create_user(request, *, cache: Annotated[Store, Named("sesion")]): ...
        """,
        """\
users.py:11 create_user(*, cache: Annotated[Store, Named('sesion')]): \
Named('sesion') is the prefix of no declared plugin
    declared: pgsql (sql), sessions (store), billing (a client)
  → did you mean Named('sessions')?""",
    ),
    "an annotation that does not evaluate": (
        """
        @users.rpc
        async def create_user(request, *, pgsql: AsyncSession, sessions: Store): ...
        """,
        """\
users.py:11 create_user(*, pgsql: AsyncSession): the annotation of 'pgsql' does not evaluate: \
NameError: name 'AsyncSession' is not defined
    what is injected is found by its type, so the type has to exist when the service runs
  → import it at the top of the module, and not under `if TYPE_CHECKING:`""",
    ),
    "the Context by keyword": (
        """
        @users.rpc
        async def create_user(request, *, call: Context): ...
        """,
        """\
users.py:11 create_user(*, call: Context): the call's Context is not injected by keyword
  → take it as the second positional parameter of the handler, after the request""",
    ),
    "a client": (
        """
        @users.rpc
        async def create_user(request, *, billing: Any): ...
        """,
        """\
users.py:11 create_user(*, billing: Any): 'billing' is declared as a client, \
and clients of other services are not available yet
    a manifest may declare them already; no handler may take one""",
    ),
    "a positional-only parameter": (
        """
        @component
        class Repository:
            def __init__(self, pgsql: Engine, /): ...
        """,
        """\
users.py:11 Repository(pgsql: Engine): 'pgsql' is positional-only, and values are injected by name
  → remove the `/`""",
    ),
    "a component's parameter, with the way to it": (
        """
        @component
        class Repository:
            def __init__(self, sesions: Store): ...

        @component
        class Users:
            def __init__(self, repository: Repository): ...

        @users.rpc
        async def create_user(request, *, users: Users): ...
        """,
        """\
users.py:11 Repository(sesions: Store): no plugin is declared under the prefix 'sesions'
    Store is provided by sessions (store)
    needed on the way create_user → Users → Repository
  → name the parameter 'sessions', or annotate it `Annotated[Store, Named('sessions')]`""",
    ),
    "a circle": (
        """
        @component
        class Repository:
            def __init__(self, audit: Audit): ...

        @component
        class Audit:
            def __init__(self, mailer: Mailer): ...

        @component
        class Mailer:
            def __init__(self, repository: Repository): ...
        """,
        """\
users.py:11 Repository: components need one another in a circle
    Repository(audit: Audit)  users.py:11
    └─ Audit(mailer: Mailer)  users.py:15
       └─ Mailer(repository: Repository)  users.py:19
          └─ Repository, again
  → give one of them what it needs of the other as an argument of its methods""",
    ),
    "a call-scoped view in a stream": (
        """
        @users.rpc
        async def list_users(request, *, pgsql: Session):
            yield request
        """,
        """\
users.py:11 list_users(*, pgsql: Session): Session of pgsql belongs to one call, \
and shop.v1.UserService.ListUsers streams its reply
    it would stay open, and its transaction with it, for as long as the client goes on reading
  → take what lasts (Database, Engine) and open what you need for each piece of work""",
    ),
    "a call-scoped view in a stream, through a component": (
        """
        @component
        class Repository:
            def __init__(self, pgsql: Session): ...

        @users.rpc
        async def list_users(request, *, repository: Repository):
            yield request
        """,
        """\
users.py:15 list_users(*, repository: Repository): Session of pgsql, which Repository takes, belongs to one call, \
and shop.v1.UserService.ListUsers streams its reply
    it would stay open, and its transaction with it, for as long as the client goes on reading
  → take what lasts (Database, Engine) and open what you need for each piece of work""",
    ),
    "two views that exclude one another": (
        """
        @component
        class Repository:
            def __init__(self, pgsql: Connection): ...

        @users.rpc
        async def create_user(request, *, pgsql: Session, repository: Repository): ...
        """,
        """\
users.py:15 create_user(*, pgsql: Session): Session of pgsql and Connection, which Repository takes, \
exclude one another within a call
    they would be two transactions; the other is taken by users.py:15 create_user(*, repository: Repository)
  → use one of them throughout""",
    ),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_each_mistake_is_drawn(problems: Problems, source: str, expected: str) -> None:
    """A mistake gives exactly one report, with place, reason and cure."""
    assert problems(source) == [expected]


def test_all_mistakes_come_at_once(problems: Problems) -> None:
    """Every parameter of every handler is checked before anything is reported."""
    found = problems(
        """
        @users.rpc
        async def create_user(request, *, pgsql: Store, sesions: Store, nothing: int): ...

        @users.rpc
        async def list_users(request, *, pgsql): yield
        """
    )
    assert [line.partition(":")[2].split("(")[0] for line in found] == [
        "11 create_user",
        "11 create_user",
        "11 create_user",
        "14 list_users",
    ]


def test_a_plugin_that_could_not_be_loaded_is_not_reported_again(problems: Problems) -> None:
    """Handlers of a plugin with an unknown type wait for that to be mended; the declaration has its own report."""
    manifest = shop(SHOP.replace('plugin: "sql"', 'plugin: "sqll"'))
    source = """
        @users.rpc
        async def create_user(request, *, pgsql: Session): ...
        """
    assert problems(source, manifest=manifest) == []


def test_service_level_plugins_are_invisible_to_other_services(problems: Problems) -> None:
    """A plugin of one service is refused in another's handlers, through a component as well."""
    manifest = shop(
        SHOP.replace("service UserService {", "service UserService {\n  option (toolkit.runtime) = {};")
        + """
service AuditService {
  option (toolkit.runtime) = {plugins: {prefix: "audit" plugin: "store"}};
  rpc Note(User) returns (User);
}
"""
    )
    found = problems(
        """
        audit = Service("shop.v1.AuditService")

        @component
        class Trail:
            def __init__(self, audit: Store): ...

        @audit.rpc
        async def note(request, *, audit: Store, trail: Trail): ...

        @users.rpc
        async def create_user(request, *, audit: Store, trail: Trail): ...
        """,
        manifest=manifest,
    )
    reason = """
    shop.proto:22 declares it for the handlers of shop.v1.AuditService alone
  → declare it on the file, with option (toolkit.plugins), to share it"""
    assert found == [
        "users.py:20 create_user(*, audit: Store): audit (store) is not visible to shop.v1.UserService" + reason,
        "users.py:20 create_user(*, trail: Trail): audit (store), which Trail takes, "
        "is not visible to shop.v1.UserService" + reason,
    ]
