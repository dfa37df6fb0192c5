"""A service run as its users run it, and ended as its operators end it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.processes import BIN, RunToolkit, Start
from toolkit.cli.compile import compile_protos
from toolkit.manifest import read_manifest

PROTO = """
syntax = "proto3";
package shop.v1;
import "toolkit/annotations.proto";
%s
service Shop {
  rpc Buy(BuyRequest) returns (BuyReply);
}
message BuyRequest { string item = 1; double seconds = 2; }
message BuyReply { string receipt = 1; }
"""

HANDLERS = """
import asyncio, sys
from pathlib import Path
from toolkit import Service, on_stop

shop = Service("shop.v1.Shop")
journal = Path("journal.txt")

@shop.rpc
async def buy(request):
    journal.open("a").write("begun ")
    Path("modules.txt").write_text(chr(10).join(sys.modules))
    try:
        await asyncio.sleep(request.seconds)
        return {"receipt": f"one {request.item}"}
    finally:
        await asyncio.sleep(0)
        journal.open("a").write("finally ")

@on_stop
async def stopped():
    journal.open("a").write("on_stop ")
"""

LOCAL = {"SHOP_GRPC_SERVER_LISTEN": "127.0.0.1", "SHOP_GRPC_SERVER_PORT": "0", "SHOP_SHUTDOWN_DRAIN_DELAY": "0"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.proto").write_text(PROTO % "", encoding="utf-8")
    (tmp_path / "handlers.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    (tmp_path / "shop.pb").write_bytes(compile_protos([tmp_path / "shop.proto"]))
    return tmp_path


def call(address: str, request: dict[str, Any], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "toolkit"), "call", address, "shop.v1.Shop/Buy", json.dumps(request)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=25,
    )


@pytest.mark.parametrize("arguments", [("--descriptor", "shop.pb"), ("shop.pb",)])
def test_service_runs_answers_and_stops(shop: Path, start_service: Start, arguments: tuple[str, ...]) -> None:
    """A compiled manifest is served, called through reflection, and ends with 0 on SIGTERM."""
    service = start_service(*arguments, "--handlers", "handlers", env=LOCAL)
    address = service.address()
    answer = call(address, {"item": "book"}, cwd=shop)
    assert (answer.returncode, json.loads(answer.stdout)) == (0, {"receipt": "one book"})
    assert service.end(signal.SIGTERM) == 0
    assert (shop / "journal.txt").read_text() == "begun finally on_stop "
    names = [event["event"] for event in service.events]
    assert names[-2:] == ["toolkit.service_stopping", "toolkit.service_stopped"]


def test_ctrl_c_stops_with_zero(shop: Path, start_service: Start) -> None:
    """Ctrl-C is a stop like any other."""
    service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL)
    service.address()
    assert service.end(signal.SIGINT) == 0


def test_lean_service_imports_no_plugin_library(shop: Path, start_service: Start) -> None:
    """What no manifest names is not imported: no database driver, no rich, no HTTP framework."""
    service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL)
    assert call(service.address(), {"item": "book"}, cwd=shop).returncode == 0
    assert service.end(signal.SIGTERM) == 0
    modules = set((shop / "modules.txt").read_text().splitlines())
    loaded = {name.partition(".")[0] for name in modules}
    assert {"toolkit", "grpc", "structlog"} <= loaded
    unwanted = {
        *("sqlalchemy", "asyncpg", "redis", "hiredis", "rich", "rapidfuzz", "starlette", "uvicorn"),
        *("aio_pika", "sentry_sdk", "psycopg", "alembic", "pytest"),
    }
    assert loaded & unwanted == set()
    # grpc itself imports the package grpc_tools where it is installed, but not protoc.
    assert "grpc_tools.protoc" not in modules


def test_call_under_way_finishes_on_sigterm(shop: Path, start_service: Start) -> None:
    """SIGTERM lets a call under way end, and its `finally` runs before the stop hooks."""
    service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL)
    address = service.address()
    answers: list[subprocess.CompletedProcess[str]] = []
    caller = threading.Thread(target=lambda: answers.append(call(address, {"item": "x", "seconds": 2}, cwd=shop)))
    caller.start()
    wait_for_text(shop / "journal.txt", "begun")
    assert service.end(signal.SIGTERM) == 0
    caller.join(timeout=20)
    assert [(answer.returncode, json.loads(answer.stdout)) for answer in answers] == [(0, {"receipt": "one x"})]
    assert (shop / "journal.txt").read_text() == "begun finally on_stop "


async def test_sigterm_under_load_loses_no_call(shop: Path, start_service: Start) -> None:
    """Twenty callers at once across a SIGTERM: every call that a handler began is answered."""
    service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL | {"SHOP_SHUTDOWN_DRAIN_DELAY": "300ms"})
    address = await asyncio.to_thread(service.address)
    manifest = read_manifest(await asyncio.to_thread((shop / "shop.pb").read_bytes))
    request: Any = manifest.message("shop.v1.BuyRequest")
    payload = request(item="x", seconds=0.05).SerializeToString()
    answered = 0
    endings: list[grpc.StatusCode] = []

    async def keep_calling() -> None:
        nonlocal answered
        async with grpc.aio.insecure_channel(address) as channel:
            buy: Any = channel.unary_unary("/shop.v1.Shop/Buy")
            while True:
                try:
                    await buy(payload, timeout=15)
                except grpc.aio.AioRpcError as error:
                    endings.append(error.code())
                    return
                answered += 1

    callers = [asyncio.create_task(keep_calling()) for _ in range(20)]
    while answered < 100:
        await asyncio.sleep(0.01)
    assert await asyncio.to_thread(service.end, signal.SIGTERM) == 0
    await asyncio.wait_for(asyncio.gather(*callers), timeout=20)
    journal = (await asyncio.to_thread((shop / "journal.txt").read_text)).split()
    # The engine answers what arrives while it closes, before any handler, with one of these.
    assert set(endings) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert journal.count("begun") == journal.count("finally") == answered
    assert journal[-1] == "on_stop"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_second_signal_ends_at_once(shop: Path, start_service: Start, number: int, code: int) -> None:
    """A second signal does not wait for the call that the first one waits for."""
    service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL)
    address = service.address()
    caller = threading.Thread(target=lambda: call(address, {"item": "x", "seconds": 20}, cwd=shop))
    caller.start()
    wait_for_text(shop / "journal.txt", "begun")
    service.process.send_signal(number)
    service.wait_for("toolkit.service_stopping")
    began = time.monotonic()
    assert service.end(number) == code
    assert time.monotonic() - began < 10
    caller.join(timeout=20)


def test_port_in_use_names_address_and_variable(shop: Path, start_service: Start) -> None:
    """A taken port is an error, not a silent share."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        service = start_service("shop.pb", "--handlers", "handlers", env=LOCAL | {"SHOP_GRPC_SERVER_PORT": str(port)})
        assert service.wait() == 69
    assert f"127.0.0.1:{port}" in service.output
    assert "SHOP_GRPC_SERVER_PORT" in service.output
    assert "Traceback" not in service.output


def test_critical_plugin_down_fails_within_its_budget(tmp_path: Path, start_service: Start) -> None:
    """A database that is not there: exit code 69, one line with plugin, address and cause, no password."""
    plugin = 'option (toolkit.plugins) = {prefix: "pgsql" plugin: "postgres_gorm"};'
    (tmp_path / "shop.proto").write_text(PROTO % plugin, encoding="utf-8")
    (tmp_path / "shop.pb").write_bytes(compile_protos([tmp_path / "shop.proto"]))
    (tmp_path / "handlers.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    port = unused_port()
    env = LOCAL | {
        "SHOP_PGSQL_HOST": "127.0.0.1",
        "SHOP_PGSQL_PORT": str(port),
        "SHOP_PGSQL_PASSWORD": "hunter2-secret",
        "SHOP_PGSQL_STARTUP_TIMEOUT": "1s",
    }
    service = start_service("shop.pb", "--handlers", "handlers", env=env)
    assert service.wait() == 69
    lines = [line for line in service.output.splitlines() if line.startswith("✗")]
    assert len(lines) == 1
    assert lines[0].startswith(f"✗ shop.proto:5: pgsql (postgres_gorm) at 127.0.0.1:{port}")
    assert "is not available: ConnectionRefusedError" in lines[0]
    assert "hunter2" not in service.output
    assert "SHOP_PGSQL_CRITICAL=false" in service.output


def test_all_problems_come_in_one_report(tmp_path: Path, toolkit: RunToolkit) -> None:
    """A wrong variable, an unknown type and a wrong handler are reported together, with nothing started."""
    plugins = """
    option (toolkit.plugins) = {prefix: "cache" plugin: "redis"};
    option (toolkit.plugins) = {prefix: "pgsql" plugin: "postgres_grom"};
    """
    (tmp_path / "shop.proto").write_text(PROTO % plugins, encoding="utf-8")
    (tmp_path / "shop.pb").write_bytes(compile_protos([tmp_path / "shop.proto"]))
    (tmp_path / "handlers.py").write_text(
        "from redis.asyncio import Redis\nfrom toolkit import Service\n"
        'shop = Service("shop.v1.Shop")\n@shop.rpc\nasync def buy(request, *, cash: Redis): ...\n',
        encoding="utf-8",
    )
    done = toolkit("run", "shop.pb", "--handlers", "handlers", env=LOCAL | {"SHOP_CACHE_POOL_SIZE": "many"})
    assert done.returncode == 78
    assert done.stderr.startswith("toolkit: 3 problems, nothing was started\n")
    for part in ("did you mean 'postgres_gorm'?", "SHOP_CACHE_POOL_SIZE", "buy(*, cash: Redis)", "cache"):
        assert part in done.stderr
    assert done.stdout == ""


def test_proto_by_mistake_says_what_to_do(shop: Path, toolkit: RunToolkit) -> None:
    """A .proto in the place of a compiled set is recognised."""
    done = toolkit("run", "shop.proto", "--handlers", "handlers")
    assert done.returncode == 78
    assert "shop.proto" in done.stderr or ".proto" in done.stderr
    assert "toolkit compile" in done.stderr


def test_nothing_named_is_a_usage_error(toolkit: RunToolkit) -> None:
    """Without a descriptor set the error says where to name one."""
    done = toolkit("run")
    assert done.returncode == 2
    assert "no descriptor set is named" in done.stderr
    assert "[tool.toolkit]" in done.stderr


def test_missing_file_says_how_to_make_it(toolkit: RunToolkit) -> None:
    """A path that does not exist is named, with the command that makes it."""
    done = toolkit("run", "nowhere.pb")
    assert done.returncode == 78
    assert "nowhere.pb: the descriptor set cannot be read: No such file or directory" in done.stderr
    assert "toolkit compile service.proto -o service.pb" in done.stderr


def test_everything_may_stand_in_the_projects_file(shop: Path, start_service: Start) -> None:
    """Descriptor, handlers and prefix come from [tool.toolkit], also from a folder below."""
    (shop / "pyproject.toml").write_text(
        '[tool.toolkit]\ndescriptor = "shop.pb"\nhandlers = ["handlers"]\nenv_prefix = "MINE"\n', encoding="utf-8"
    )
    env = {name.replace("SHOP_", "MINE_"): value for name, value in LOCAL.items()}
    service = start_service(env=env)
    assert service.address()
    assert service.end(signal.SIGTERM) == 0


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for_text(path: Path, text: str, *, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} never held {text!r}"
        time.sleep(0.02)
