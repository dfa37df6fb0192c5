"""What a manifest says, whichever compiler made the set."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.manifest.compilers import PROTOS, parse, run_buf, service_proto
from toolkit.cli.compile import compile_protos, include_paths
from toolkit.manifest import (
    AppDeclaration,
    Cardinality,
    ClientDeclaration,
    HttpRule,
    Location,
    Manifest,
    PluginDeclaration,
    ProxyTarget,
    RouteDeclaration,
    ServerKind,
    read_manifest,
)

USERS = "shop/v1/users.proto"
BOTH = frozenset({"shop.v1.UserService", "shop.v1.GroupService"})
UPSTREAM = PROTOS / "upstream"


@pytest.fixture(scope="module")
def users(protos: Callable[..., bytes]) -> Manifest:
    return read_manifest(protos(USERS))


def test_plugins_of_files_and_services_are_read_with_all_their_fields_and_lines(users: Manifest) -> None:
    """Every plugin of a served file or service is there, in order, with the line of its own option."""
    assert users.plugins == (
        PluginDeclaration(
            prefix="pgsql",
            type="postgres_gorm",
            settings={"pool_size": "20"},
            needs=("cache",),
            location=Location(USERS, 19),
        ),
        PluginDeclaration(prefix="cache", type="redis", critical=False, location=Location(USERS, 25)),
        PluginDeclaration(prefix="sessions", type="redis", critical=True, location=Location(USERS, 33), services=BOTH),
        PluginDeclaration(
            prefix="groups",
            type="redis",
            location=Location(USERS, 70),
            services=frozenset({"shop.v1.GroupService"}),
        ),
    )


def test_app_and_clients_are_read(users: Manifest) -> None:
    """The app's fields and the clients stand in the manifest with their lines."""
    assert users.app == AppDeclaration(
        name="users",
        env_prefix="SHOP_USERS",
        version="1.4.0",
        description="Keeps the users of the shop.",
        handlers=("shop.users", "shop.groups"),
        location=Location(USERS, 10),
    )
    assert users.clients == (
        ClientDeclaration(name="billing", package="shop.billing.v1", location=Location(USERS, 27)),
    )


def test_services_are_read_with_their_options_comments_and_lines(users: Manifest) -> None:
    """A service says what serves it, what runs around it, and what its comment says."""
    service = users.service("shop.v1.UserService")
    assert service is not None
    assert service.served
    assert service.has_runtime
    assert service.servers == (ServerKind.GRPC, ServerKind.HTTP)
    assert service.middlewares == ("request_id", "tracing")
    assert service.comment == "Keeps users.\n\nThey have names."
    assert service.location == Location(USERS, 32)
    assert [one.full_name for one in users.served] == ["shop.v1.UserService", "shop.v1.GroupService"]


def test_methods_are_read_with_cardinality_types_and_idempotency(users: Manifest) -> None:
    """Each of the four kinds of method is known by its cardinality and full message names."""
    methods = {method.name: method for method in users.methods()}
    assert {name: method.cardinality for name, method in methods.items()} == {
        "CreateUser": Cardinality.UNARY_UNARY,
        "GetUser": Cardinality.UNARY_UNARY,
        "WatchUsers": Cardinality.UNARY_STREAM,
        "ImportUsers": Cardinality.STREAM_UNARY,
        "Chat": Cardinality.STREAM_STREAM,
        "GetGroup": Cardinality.UNARY_UNARY,
    }
    create, get, watch = methods["CreateUser"], methods["GetUser"], methods["WatchUsers"]
    assert (create.input_type, create.output_type) == ("shop.v1.CreateUserRequest", "shop.v1.User")
    assert (watch.input_type, watch.output_type) == ("google.protobuf.Empty", "shop.v1.User")
    assert create.path == "/shop.v1.UserService/CreateUser"
    assert create.comment == "Creates a user."
    assert create.location == Location(USERS, 41)
    assert (create.idempotent, create.side_effect_free) == (True, False)
    assert (get.idempotent, get.side_effect_free) == (True, True)
    assert (watch.idempotent, watch.side_effect_free) == (False, False)


def test_http_rules_and_routes_are_read(users: Manifest) -> None:
    """All bindings of google.api.http are listed, custom verbs too, and so is what the route says."""
    service = users.service("shop.v1.UserService")
    assert service is not None
    create, get, *_, chat = service.methods
    assert create.http == (
        HttpRule(verb="POST", path="/v1/users", body="*"),
        HttpRule(verb="PUT", path="/v1/users/{name}", body="user", response_body="user"),
        HttpRule(verb="HEAD", path="/v1/users"),
    )
    assert get.route == RouteDeclaration(
        middlewares=("audit",),
        exclude_global_middlewares=("request_id", "tracing"),
        location=Location(USERS, 53),
    )
    assert chat.route.websocket
    assert chat.route.is_routed
    assert create.route == RouteDeclaration()


def test_messages_come_from_the_manifests_own_pool(users: Manifest) -> None:
    """A message class of the manifest works, and nothing is added to protobuf's default pool."""
    user = users.message("shop.v1.User")(name="Ada", age=36)
    assert users.message("shop.v1.User").FromString(user.SerializeToString()) == user
    with pytest.raises(KeyError):
        users.message("shop.v1.Missing")
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("shop.v1.User")


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("shop.v1.User", Location("shop/v1/types.proto", 8)),
        ("shop.v1.User.email_address", Location("shop/v1/types.proto", 11)),
        ("shop.v1.User.contact", Location("shop/v1/types.proto", 15)),
        ("shop.v1.User.Address.owner", Location("shop/v1/types.proto", 23)),
        ("shop.v1.Kind", Location("shop/v1/types.proto", 27)),
        ("shop.v1.GroupService", Location(USERS, 68)),
        ("shop.v1.UserService.Chat", Location(USERS, 63)),
        ("toolkit.plugins", Location("toolkit/annotations.proto", 19)),
        ("shop.v1.User.missing", None),
        ("shop.v1.UserService.Missing", None),
        ("shop.v1", None),
        ("", None),
    ],
)
def test_declarations_are_located_by_full_name(users: Manifest, name: str, location: Location | None) -> None:
    """Any message, field, oneof, enum, service, method or extension can be found in its file."""
    assert users.location_of(name) == location


def test_a_set_without_source_info_says_the_same_without_lines_and_comments(
    users: Manifest, protos: Callable[..., bytes]
) -> None:
    """Without source info only the lines and the comments are missing."""
    bare = read_manifest(protos(USERS, source_info=False))
    assert [plugin.location for plugin in bare.plugins] == [Location(USERS)] * 4
    assert bare.services[0].comment == ""
    assert [(plugin.prefix, plugin.type) for plugin in bare.plugins] == [
        (plugin.prefix, plugin.type) for plugin in users.plugins
    ]
    assert [method.name for method in bare.methods()] == [method.name for method in users.methods()]
    assert bare.location_of("shop.v1.User") == Location("shop/v1/types.proto")


def test_toolkit_compile_makes_the_same_manifest(users: Manifest) -> None:
    """toolkit's own compiler and stock protoc agree."""
    compiled = read_manifest(compile_protos([PROTOS / USERS], includes=[PROTOS]))
    assert (compiled.services, compiled.plugins, compiled.app) == (users.services, users.plugins, users.app)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A buf workspace: our protos, and what they import, in a folder beside them that is a module of its own."""
    folder = tmp_path_factory.mktemp("buf")
    schemas, _, google = include_paths()
    shutil.copytree(PROTOS, folder / "protos", ignore=shutil.ignore_patterns("upstream"))
    shutil.copytree(schemas, folder / "vendor")
    (folder / "vendor/google/api").mkdir(parents=True)
    for name in ("annotations", "http"):
        shutil.copy(google / f"google/api/{name}.proto", folder / "vendor/google/api")
    (folder / "buf.yaml").write_text("version: v2\nmodules:\n  - path: protos\n  - path: vendor\n")
    return folder


@pytest.mark.parametrize("arguments", [(), ("--exclude-source-info",), ("--as-file-descriptor-set",)])
def test_buf_makes_the_same_manifest(users: Manifest, workspace: Path, arguments: tuple[str, ...]) -> None:
    """An image of the real buf, a plain one, and one without source info are all read."""
    data = run_buf(workspace, "--path", f"protos/{USERS}", *arguments)
    manifest = read_manifest(data)
    assert [one.full_name for one in manifest.served] == ["shop.v1.UserService", "shop.v1.GroupService"]
    if "--exclude-source-info" in arguments:
        assert {plugin.location.line for plugin in manifest.plugins} == {None}
    else:
        # buf knows the line of an element inside the braces of an option, protoc that of the option.
        lines = [plugin.location.line for plugin in manifest.plugins]
        assert lines == [19, 25, 35, 70]
        assert manifest.services[0].methods == users.services[0].methods


def test_buf_reads_proto2_and_editions(workspace: Path) -> None:
    """The other syntaxes, compiled by buf, are read as well."""
    paths = [part for name in ("legacy", "audit", "report") for part in ("--path", f"protos/shop/{name}.proto")]
    manifest = read_manifest(run_buf(workspace, *paths))
    assert {plugin.prefix for plugin in manifest.plugins} == {"log", "archive", "store"}


def test_sets_of_protoc_and_buf_go_together(workspace: Path, protos: Callable[..., bytes]) -> None:
    """A file that both compilers wrote, each in its own way, is one file."""
    manifest = read_manifest(protos(USERS, source_info=False), run_buf(workspace, "--path", f"protos/{USERS}"))
    assert [plugin.prefix for plugin in manifest.plugins] == ["pgsql", "cache", "sessions", "groups"]
    # The lines are taken from the set that has them.
    assert manifest.plugins[0].location == Location(USERS, 19)


@pytest.mark.parametrize("source_info", [True, False])
def test_annotations_of_the_go_project_itself_are_understood(
    protos: Callable[..., bytes], *, source_info: bool
) -> None:
    """A set whose options were compiled from the Go project's file, under its path, is read."""
    manifest = read_manifest(protos("golang.proto", includes=(UPSTREAM,), source_info=source_info))
    assert [(plugin.prefix, plugin.type) for plugin in manifest.plugins] == [
        ("pgsql", "postgres_gorm"),
        ("redis2", "redis"),
    ]
    assert manifest.plugins[1].services == {"golang.example.Sample"}
    assert [client.name for client in manifest.clients] == ["example"]
    example = manifest.service("golang.example.Example")
    assert example is not None
    assert example.middlewares == ("request_id",)
    assert example.methods[0].route.middlewares == ("example",)
    assert manifest.app is None


def test_the_upstream_path_leads_to_our_annotations(protos: Callable[..., bytes]) -> None:
    """A proto of the Go original compiles against our schemas unmodified, and reads the same."""
    ours = read_manifest(protos("golang.proto"))
    theirs = read_manifest(protos("golang.proto", includes=(UPSTREAM,)))
    assert (ours.services, ours.plugins, ours.clients) == (theirs.services, theirs.plugins, theirs.clients)


@pytest.mark.parametrize("swapped", [False, True])
def test_sets_with_different_annotations_go_together(
    protos: Callable[..., bytes], compile_set: Callable[..., bytes], *, swapped: bool
) -> None:
    """One set has the Go project's annotations and one has ours: both are read, in either order."""
    ours = compile_set({"ours.proto": service_proto('option (toolkit.app).name = "ours";')})
    sets = [protos("golang.proto", includes=(UPSTREAM,)), ours, protos("golang.proto")]
    manifest = read_manifest(*reversed(sets) if swapped else sets)
    assert [plugin.prefix for plugin in manifest.plugins] == ["pgsql", "redis2"]
    assert manifest.app is not None
    assert manifest.app.name == "ours"


@pytest.mark.parametrize(
    ("file", "prefix", "method"),
    [
        ("shop/legacy.proto", "archive", "/shop.legacy.Orders/Place"),
        ("shop/audit.proto", "log", "/shop.audit.Audit/Append"),
        ("shop/report.proto", "store", "/shop.report.Reports/Render"),
    ],
)
def test_proto2_and_both_editions_are_read(protos: Callable[..., bytes], file: str, prefix: str, method: str) -> None:
    """proto2 with groups and extensions, edition 2023 with features, edition 2024 with option imports."""
    manifest = read_manifest(protos(file))
    assert [plugin.prefix for plugin in manifest.plugins] == [prefix]
    assert [one.path for one in manifest.methods()] == [method]
    message = manifest.message(next(manifest.methods()).input_type)
    assert message.DESCRIPTOR.file.name == file


def test_a_route_that_is_proxied_names_its_target(protos: Callable[..., bytes]) -> None:
    """The proxies of a gateway are read, and what it proxies is known but not served."""
    manifest = read_manifest(protos("gateway.proto"))
    gateway = manifest.service("gateway.Gateway")
    greeter = manifest.service("helloworld.Greeter")
    assert gateway is not None
    assert greeter is not None
    hello, goodbye = gateway.methods
    assert hello.route.http_proxy == ProxyTarget(service="helloworld", method="/helloworld.Greeter/SayHello")
    assert goodbye.route.websocket_proxy == ProxyTarget(service="helloworld", method="/helloworld.Greeter/SayGoodbye")
    assert gateway.servers == (ServerKind.HTTP, ServerKind.WEBSOCKET_PROXY, ServerKind.WEBSOCKET)
    assert gateway.served
    assert not greeter.served
    assert [method.name for method in greeter.methods] == ["SayHello", "SayGoodbye"]


@pytest.mark.parametrize("seed", range(5))
def test_files_may_stand_in_any_order(users: Manifest, protos: Callable[..., bytes], seed: int) -> None:
    """However the files of a set are ordered, the manifest is the same and dependencies come first."""
    shuffled = parse(protos(USERS))
    files = list(shuffled.file)
    random.Random(seed).shuffle(files)
    manifest = read_manifest(FileDescriptorSet(file=files).SerializeToString())
    assert (manifest.services, manifest.plugins, manifest.app) == (users.services, users.plugins, users.app)
    position = {name: index for index, name in enumerate(manifest.files)}
    assert sorted(position) == sorted(file.name for file in files)
    for file in files:
        assert all(position[name] < position[file.name] for name in file.dependency)


def test_several_sets_are_one_manifest(protos: Callable[..., bytes]) -> None:
    """Sets of different services share what they have in common."""
    manifest = read_manifest(protos("shop/legacy.proto"), protos("shop/audit.proto"), protos("shop/report.proto"))
    assert [one.full_name for one in manifest.served] == [
        "shop.legacy.Orders",
        "shop.audit.Audit",
        "shop.report.Reports",
    ]
    assert [plugin.prefix for plugin in manifest.plugins] == ["archive", "log", "store"]
    assert len(manifest.files) == len(set(manifest.files)) == 5


def test_joined_sets_are_one_set(protos: Callable[..., bytes]) -> None:
    """Sets joined byte by byte, which protobuf allows, read as the two of them do."""
    one, two = protos("shop/legacy.proto"), protos("shop/audit.proto")
    joined, apart = read_manifest(one + two), read_manifest(one, two)
    assert (joined.services, joined.plugins, joined.files) == (apart.services, apart.plugins, apart.files)


def test_a_set_without_toolkits_options_is_read(protos: Callable[..., bytes]) -> None:
    """A plain proto with a service is a manifest: the service is served, and there are no plugins."""
    manifest = read_manifest(protos("greeter.proto"))
    assert [one.full_name for one in manifest.served] == ["helloworld.Greeter"]
    assert manifest.plugins == ()
    assert manifest.app is None
    assert manifest.files == ("greeter.proto",)
