"""Which services are served, and where proxied routes lead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifest.compilers import PROTOS, report_of, run_buf, service_proto, write_files
from toolkit.manifest import read_manifest

Compile = Callable[..., bytes]

RUNTIME = "option (toolkit.runtime) = {};"
GREETER = (PROTOS / "greeter.proto").read_text(encoding="utf-8")


def _served(*sets: bytes, services: tuple[str, ...] = ()) -> list[str]:
    return [service.full_name for service in read_manifest(*sets, services=services).served]


def test_marked_services_are_served(compile_set: Compile) -> None:
    """Where services carry (toolkit.runtime), exactly those are served, imported or not."""
    data = compile_set(
        {
            "a.proto": service_proto('import "b.proto";', body="rpc Ping(u.M) returns (M);"),
            "b.proto": service_proto("", package="u", body=RUNTIME),
        }
    )
    assert _served(data) == ["u.S"]


def test_services_of_files_that_nothing_imports_are_served(compile_set: Compile) -> None:
    """Where none is marked, an imported service is not served, but known."""
    data = compile_set(
        {
            "a.proto": service_proto('import "b.proto";', body="rpc Ping(u.M) returns (M);"),
            "b.proto": service_proto("", package="u"),
            "c.proto": service_proto("", package="v"),
        }
    )
    assert _served(data) == ["t.S", "v.S"]
    assert [service.full_name for service in read_manifest(data).services] == ["u.S", "t.S", "v.S"]


def test_each_set_says_what_it_means(compile_set: Compile) -> None:
    """One set marks its service and one marks none: both were given, both are served."""
    marked = compile_set(
        {
            "a.proto": service_proto(
                'import "greeter.proto";', body=f"{RUNTIME} rpc Ping(helloworld.HelloRequest) returns (M);"
            ),
            "greeter.proto": GREETER,
        },
        "a.proto",
    )
    greeter = compile_set({"greeter.proto": GREETER})
    assert _served(marked) == ["t.S"]
    assert _served(marked, greeter) == ["helloworld.Greeter", "t.S"]


def test_buf_says_itself_what_its_targets_are(tmp_path: Path) -> None:
    """In an image of buf the targets are served, even one that another target imports, and imports are not."""
    files = {
        "one/gateway.proto": 'syntax = "proto3"; package g; import "greeter.proto"; import "far.proto";'
        " service Gateway { rpc A(helloworld.HelloRequest) returns (far.F); }",
        "one/greeter.proto": GREETER,
        "two/far.proto": 'syntax = "proto3"; package far; message F {} service Far { rpc A(F) returns (F); }',
    }
    write_files(tmp_path, {**files, "buf.yaml": "version: v2\nmodules: [{path: one}, {path: two}]\n"})
    assert _served(run_buf(tmp_path, "one")) == ["helloworld.Greeter", "g.Gateway"]
    assert _served(run_buf(tmp_path, "one", "--as-file-descriptor-set")) == ["g.Gateway"]


def test_services_can_be_chosen(protos: Compile) -> None:
    """What is asked for is served instead, in the order of the files, whether it is marked or not."""
    data = protos("gateway.proto")
    assert _served(data, services=("helloworld.Greeter",)) == ["helloworld.Greeter"]
    assert _served(data, services=("gateway.Gateway", "helloworld.Greeter")) == [
        "helloworld.Greeter",
        "gateway.Gateway",
    ]


def test_the_plugins_of_a_chosen_service_are_opened(protos: Compile) -> None:
    """Service-level plugins go with their service, file-level ones with any service of the file."""
    manifest = read_manifest(protos("shop/v1/users.proto"), services=["shop.v1.UserService"])
    assert [plugin.prefix for plugin in manifest.plugins] == ["pgsql", "cache", "sessions"]
    assert manifest.plugins[2].services == {"shop.v1.UserService"}


def test_an_unknown_service_gets_the_nearest(protos: Compile) -> None:
    """A service that is asked for and not there: the nearest full name, by its last part as well."""
    data = protos("shop/v1/users.proto")
    assert report_of(data, services=["shop.v1.UserServce", "GroupService", "x.y.Zz"]) == (
        "--service: no service is called 'shop.v1.UserServce'\n"
        "    the nearest one is shop.v1.UserService\n"
        "  → --service shop.v1.UserService\n"
        "--service: no service is called 'GroupService'\n"
        "    the nearest one is shop.v1.GroupService\n"
        "  → --service shop.v1.GroupService\n"
        "--service: no service is called 'x.y.Zz'\n"
        "    the set has shop.v1.UserService, shop.v1.GroupService\n"
        "  → give the full name, with its package"
    )


def test_a_set_without_services_is_refused(compile_set: Compile) -> None:
    """There must be something to serve."""
    assert report_of(compile_set({"a.proto": 'syntax = "proto3"; message M {}'})) == (
        "no file of the descriptor set declares a service\n"
        "  → add a service to the .proto, or compile the .proto that has it"
    )


def test_a_set_whose_services_are_all_imported_is_refused(compile_set: Compile) -> None:
    """The report names what could be served and how."""
    root = 'syntax = "proto3"; package r; import "greeter.proto"; message R { helloworld.HelloReply reply = 1; }'
    assert report_of(compile_set({"root.proto": root, "greeter.proto": GREETER}, "root.proto")) == (
        "greeter.proto:6: no service of the descriptor set is to be served\n"
        "    the set has helloworld.Greeter; none carries (toolkit.runtime), and all are in imported files\n"
        "  → --service helloworld.Greeter, or: option (toolkit.runtime) = {servers: GRPC};"
    )


def test_a_proxy_to_a_method_that_is_not_there_is_refused(compile_set: Compile) -> None:
    """A route to a service of the set must name one of its methods; the nearest is offered."""
    greeter = "helloworld.Greeter"
    routes = {
        "A": f'http_proxy = {{service: "x" method: "/{greeter}/SayHalo"}}',
        "B": f'websocket_proxy = {{service: "x" method: "{greeter}/Zzz"}}',
        "C": 'http_proxy = {service: "x" method: "/other.Service/Any"}',
        "D": f'http_proxy = {{service: "x" method: "/{greeter}/SayHello"}}',
    }
    body = "\n".join(
        f"rpc {name}(M) returns (M) {{\n  option (toolkit.route).{route};\n}}" for name, route in routes.items()
    )
    data = compile_set(
        {"a.proto": service_proto('import "greeter.proto";', body=body), "greeter.proto": GREETER}, "a.proto"
    )
    assert report_of(data) == (
        "a.proto:8: A leads to '/helloworld.Greeter/SayHalo', but helloworld.Greeter has no method 'SayHalo'\n"
        "    it has SayHello, SayGoodbye\n"
        '  → write http_proxy: {method: "/helloworld.Greeter/SayHello"}\n'
        "a.proto:11: B leads to 'helloworld.Greeter/Zzz', but helloworld.Greeter has no method 'Zzz'\n"
        "    it has SayHello, SayGoodbye\n"
        "  → name a method that it has"
    )


def test_a_proxy_of_a_service_that_is_not_served_is_left_alone(compile_set: Compile) -> None:
    """Other people's routes are no reason to refuse ours."""
    wrong = 'rpc A(M) returns (M) { option (toolkit.route).http_proxy.method = "/t.S/Missing"; }'
    data = compile_set(
        {"a.proto": service_proto("", body=RUNTIME), "b.proto": service_proto("", package="u", body=wrong)}
    )
    assert _served(data) == ["t.S"]
    assert report_of(data, services=["u.S"]).startswith("b.proto:7: A leads to '/t.S/Missing', but t.S has no method")


@pytest.mark.parametrize("path", ["", "/", "SayHello", "/helloworld.Greeter/SayHello/more"])
def test_a_proxy_to_something_else_is_not_judged(compile_set: Compile, path: str) -> None:
    """Only a path to a known service can be checked; others are left to the client that follows them."""
    body = f'rpc A(M) returns (M) {{ option (toolkit.route).http_proxy.method = "{path}"; }}'
    data = compile_set({"a.proto": service_proto("", body=body)})
    assert _served(data) == ["t.S"]


def test_servers_are_listed_once(compile_set: Compile) -> None:
    """A face that is named twice is one face."""
    data = compile_set({"a.proto": service_proto("", body="option (toolkit.runtime) = {servers: [HTTP, GRPC, HTTP]};")})
    assert [kind.name for kind in read_manifest(data).services[0].servers] == ["HTTP", "GRPC"]
