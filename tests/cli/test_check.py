"""``toolkit check`` and ``toolkit describe``: everything that is known without connecting."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.processes import RunToolkit
from toolkit.cli.compile import compile_protos

PROTO = """
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "toolkit/annotations.proto";

option (toolkit.app) = {name: "shop" version: "1.2.3" description: "Sells books."};
option (toolkit.plugins) = {prefix: "pgsql" plugin: "postgres_gorm"};
option (toolkit.plugins) = {prefix: "cache" plugin: "redis" critical: false needs: "pgsql"};
option (toolkit.services) = {service: "helloworld" package: "x"};
option (toolkit.plugins) = {prefix: "queue" plugin: "rabbitmq"};

service Shop {
  option (toolkit.runtime) = {servers: [GRPC, HTTP]};
  rpc Buy(Text) returns (Text) { option (google.api.http) = {post: "/v1/buy" body: "*"}; }
  rpc Watch(Text) returns (stream Text);
  rpc Greet(Text) returns (Text) {
    option (toolkit.route) = {http_proxy: {service: "helloworld" method: "/helloworld.Greeter/SayHello"}};
  }
}
service Internal { rpc Poke(Text) returns (Text); }
message Text { string text = 1; }
"""

HANDLERS = """
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from toolkit import Service, component

shop = Service("shop.v1.Shop")

@component
class Orders:
    def __init__(self, pgsql: AsyncSession) -> None: ...

@shop.rpc
async def buy(request, *, orders: Orders): ...

@shop.rpc
async def watch(request, *, cache: Redis | None):
    yield request
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.proto").write_text(PROTO, encoding="utf-8")
    (tmp_path / "handlers.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    (tmp_path / "shop.pb").write_bytes(compile_protos([tmp_path / "shop.proto"]))
    return tmp_path


@pytest.mark.parametrize("manifest", ["shop.pb", "shop.proto"])
def test_sound_service_passes(shop: Path, toolkit: RunToolkit, manifest: str) -> None:
    """A service that could start passes, and what is not served yet is announced, never an error."""
    done = toolkit("check", manifest, "--handlers", "handlers")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "✓ 1 service, 3 methods, 2 plugins: ready to start\n"
    for line in (
        "shop.v1.Shop over HTTP",
        "the client 'helloworld' of shop.proto:10",
        "the route of shop.v1.Shop.Greet",
    ):
        assert f"· not served yet: {line}\n" in done.stderr


def test_json_is_for_machines(shop: Path, toolkit: RunToolkit) -> None:
    """The same as JSON on stdout, with nothing beside it."""
    done = toolkit("check", "shop.pb", "--handlers", "handlers", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["plugins"] == {"pgsql": "postgres_gorm", "cache": "redis", "queue": "rabbitmq"}
    assert report["env_prefix"] == "SHOP"
    assert report["handlers_checked"] is True


def test_without_handlers_the_rest_is_checked(shop: Path, toolkit: RunToolkit) -> None:
    """No handlers named: manifest, environment and plugins are checked, and it says so."""
    done = toolkit("check", "shop.pb", env={"SHOP_PGSQL_PORT": "many"})
    assert done.returncode == 78
    assert "no handlers were named, so none were checked" in done.stderr
    assert "toolkit: 1 problem, the service would not start" in done.stderr
    assert "SHOP_PGSQL_PORT" in done.stderr
    assert toolkit("check", "shop.pb").returncode == 0


def test_every_problem_is_in_the_json(shop: Path, toolkit: RunToolkit) -> None:
    """Configuration and binding errors come in one report, each with a stable code."""
    (shop / "handlers.py").write_text(
        "from toolkit import Service\nfrom redis.asyncio import Redis\nshop = Service('shop.v1.Shop')\n"
        "@shop.rpc\nasync def buy(request, *, cash: Redis): ...\n"
        "@shop.rpc\ndef watch(request): ...\n",
        encoding="utf-8",
    )
    done = toolkit("check", "shop.pb", "--handlers", "handlers", "--json", env={"SHOP_CACHE_PORT": "many"})
    assert done.returncode == 78
    report = json.loads(done.stdout)
    codes = sorted(problem["code"] for problem in report["problems"])
    assert len(codes) == 3
    assert {code.partition(".")[0] for code in codes} == {"config", "binding"}
    assert all(problem["what"] and problem["where"] for problem in report["problems"])


def test_broken_set_is_reported_as_json_too(tmp_path: Path, toolkit: RunToolkit) -> None:
    """A file that is no descriptor set gives JSON when JSON was asked for."""
    (tmp_path / "bad.pb").write_bytes(b"\xff\xff\xff")
    done = toolkit("check", "bad.pb", "--json")
    assert done.returncode == 78
    assert json.loads(done.stdout)["problems"]


def test_strict_env_makes_unknown_variables_errors(shop: Path, toolkit: RunToolkit) -> None:
    """A misspelt variable is a warning with the nearest name, and an error with --strict-env."""
    env = {"SHOP_PGSQL_HOTS": "db"}
    lenient = toolkit("check", "shop.pb", "--handlers", "handlers", env=env)
    assert lenient.returncode == 0
    assert "SHOP_PGSQL_HOST" in lenient.stderr
    assert toolkit("check", "shop.pb", "--handlers", "handlers", "--strict-env", env=env).returncode == 78


def test_handler_that_takes_what_is_not_served_yet_is_refused(shop: Path, toolkit: RunToolkit) -> None:
    """A manifest may name a plugin that does not exist yet; a handler may not ask for it."""
    text = (shop / "handlers.py").read_text().replace("cache: Redis | None", "queue: Redis")
    (shop / "handlers.py").write_text(text, encoding="utf-8")
    done = toolkit("check", "shop.pb", "--handlers", "handlers")
    assert done.returncode == 78
    assert (
        "✗ handlers.py:17 watch(*, queue: Redis): 'queue' is declared, and its type is not served yet\n"
        "      a manifest may declare it already; no handler may take it\n"
    ) in done.stderr


def test_describe_draws_who_uses_what(shop: Path, toolkit: RunToolkit) -> None:
    """Services, methods, routes and plugins as a tree, with the users of each plugin."""
    done = toolkit("describe", "shop.pb", "--handlers", "handlers")
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines == [
        "shop 1.2.3  Sells books.",
        "├── services",
        "│   ├── shop.v1.Shop  GRPC, HTTP  shop.proto:13",
        "│   │   ├── Buy  unary  POST /v1/buy  uses pgsql",
        "│   │   ├── Watch  server streaming  uses cache",
        "│   │   └── Greet  unary  HTTP proxy to helloworld /helloworld.Greeter/SayHello",
        "│   └── shop.v1.Internal  not served here  shop.proto:21",
        "│       └── Poke  unary",
        "├── plugins",
        "│   ├── pgsql  postgres_gorm  critical  shop.proto:8",
        "│   │   └── shop.v1.Shop/Buy",
        "│   ├── cache  redis  not critical  needs pgsql  shop.proto:9",
        "│   │   └── shop.v1.Shop/Watch",
        "│   └── queue  rabbitmq  not served yet  shop.proto:11",
        "└── clients (not served yet)",
        "    └── helloworld",
    ]


def test_describe_json(shop: Path, toolkit: RunToolkit) -> None:
    """The description for machines."""
    document: dict[str, Any] = json.loads(toolkit("describe", "shop.pb", "--handlers", "handlers", "--json").stdout)
    assert document["plugins"][1]["used_by"] == ["/shop.v1.Shop/Watch"]
    assert document["services"][0]["methods"][0]["routes"] == ["POST /v1/buy"]


def test_several_sets_make_one_manifest(tmp_path: Path, toolkit: RunToolkit) -> None:
    """Two sets that were compiled apart are served as one."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.proto").write_text(
            f'syntax = "proto3";\npackage {name};\nimport "toolkit/annotations.proto";\n'
            f'option (toolkit.plugins) = {{prefix: "cache" plugin: "redis"}};\n'
            f"service {name.upper()} {{ rpc Do(M) returns (M); }}\nmessage M {{}}\n",
            encoding="utf-8",
        )
        (tmp_path / f"{name}.pb").write_bytes(compile_protos([tmp_path / f"{name}.proto"]))
    done = toolkit("check", "a.pb", "--descriptor", "b.pb", "--json")
    report = json.loads(done.stdout)
    assert (report["services"], report["plugins"]) == (["a.A", "b.B"], {"cache": "redis"})


def test_service_override(shop: Path, toolkit: RunToolkit) -> None:
    """--service serves what it names; a name that does not exist gets the nearest."""
    done = toolkit("check", "shop.pb", "--service", "shop.v1.Internal", "--json")
    assert json.loads(done.stdout)["services"] == ["shop.v1.Internal"]
    wrong = toolkit("check", "shop.pb", "--service", "shop.v1.Intern")
    assert wrong.returncode == 78
    assert "shop.v1.Internal" in wrong.stderr


def test_help_teaches(toolkit: RunToolkit) -> None:
    """Help of each command says what it does; a misspelt command gets the nearest."""
    overview = toolkit("--help")
    assert overview.returncode == 0
    for command in ("run", "check", "env", "describe", "compile", "call", "schemas"):
        assert f"  {command} " in overview.stdout
        assert toolkit(command, "--help").returncode == 0
    wrong = toolkit("chek")
    assert wrong.returncode == 2
    assert "there is no command 'chek'; did you mean 'check'?" in wrong.stderr
    assert toolkit("--version").stdout.startswith("toolkit, version ")
