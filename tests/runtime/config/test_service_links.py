from __future__ import annotations

from typing import Any

import pytest

LINKS = {
    "USER_SERVICE_PGSQL_SERVICE_HOST": "10.0.0.1",
    "USER_SERVICE_PGSQL_SERVICE_PORT": "5432",
    "USER_SERVICE_PGSQL_SERVICE_PORT_POSTGRES": "5432",
    "USER_SERVICE_PGSQL_PORT": "tcp://10.0.0.1:5432",
    "USER_SERVICE_PGSQL_PORT_5432_TCP": "tcp://10.0.0.1:5432",
    "USER_SERVICE_PGSQL_PORT_5432_TCP_PROTO": "tcp",
    "USER_SERVICE_PGSQL_PORT_5432_TCP_PORT": "5432",
    "USER_SERVICE_PGSQL_PORT_5432_TCP_ADDR": "10.0.0.1",
}


def test_the_whole_family_is_ignored_with_one_notice_and_the_cure(bench: Any) -> None:
    """Every link of a Service is recognised, and one notice says what they are and how to be rid of them."""
    config = bench.read(LINKS, strict=True)
    assert config.problems == ()
    assert [str(warning) for warning in config.warnings] == [
        "environment: ignored USER_SERVICE_PGSQL_PORT, USER_SERVICE_PGSQL_PORT_5432_TCP,"
        " USER_SERVICE_PGSQL_PORT_5432_TCP_ADDR, USER_SERVICE_PGSQL_PORT_5432_TCP_PORT and 4 more\n"
        "    links that Kubernetes sets to the Service user-service-pgsql, whose name begins like ours\n"
        "  → set `enableServiceLinks: false` in the pod's spec"
    ]
    assert config.plugins["pgsql"].value.port == 5432
    assert config.plugins["pgsql"].given == frozenset()


@pytest.mark.parametrize("name", sorted(LINKS))
def test_each_link_is_recognised_by_itself(bench: Any, name: str) -> None:
    """No link needs the others to be told from a misspelt setting."""
    config = bench.read({name: LINKS[name]}, strict=True)
    assert config.problems == ()
    assert [warning.code for warning in config.warnings] == ["config.service_links"]
    assert name in config.warnings[0].what


@pytest.mark.parametrize(
    "url",
    ["tcp://10.0.0.1:6379", "udp://10.0.0.1:53", "sctp://10.0.0.1:9", "tcp://[fd00::1]:5432", "tcp://db.local:5432"],
)
def test_a_link_leaves_the_setting_port_unset(bench: Any, url: str) -> None:
    """A link under the name of a setting counts as unset, so that the env file's text is read."""
    config = bench.read({"USER_SERVICE_PGSQL_PORT": url}, env_files={".env": "USER_SERVICE_PGSQL_PORT=6000"})
    assert config.problems == ()
    assert config.plugins["pgsql"].value.port == 6000


def test_a_single_link_has_its_notice(bench: Any) -> None:
    """One link is spoken of as one."""
    config = bench.read({"USER_SERVICE_PGSQL_PORT": "tcp://10.0.0.1:5432"})
    assert [str(warning) for warning in config.warnings] == [
        "environment: ignored USER_SERVICE_PGSQL_PORT\n"
        "    a link that Kubernetes sets to the Service user-service-pgsql, whose name begins like ours\n"
        "  → set `enableServiceLinks: false` in the pod's spec"
    ]


def test_a_link_to_a_service_of_a_longer_name_is_recognised(bench: Any) -> None:
    """Services whose names continue a plugin's prefix are grouped into the same notice."""
    config = bench.read(
        {
            "USER_SERVICE_PGSQL_READ_PORT_5432_TCP": "tcp://10.0.0.2:5432",
            "USER_SERVICE_GRPC_SERVER_PORT": "tcp://10.0.0.3:9000",
        }
    )
    assert [str(warning) for warning in config.warnings] == [
        "environment: ignored USER_SERVICE_GRPC_SERVER_PORT, USER_SERVICE_PGSQL_READ_PORT_5432_TCP\n"
        "    links that Kubernetes sets to the Services user-service-grpc-server, user-service-pgsql-read,"
        " whose names begin like ours\n"
        "  → set `enableServiceLinks: false` in the pod's spec"
    ]
    assert config.runtime.grpc_server_port == 9000


def test_a_link_that_has_the_name_of_a_setting_is_known_by_its_address(bench: Any) -> None:
    """USER_SERVICE_HOST is a link to a Service `user` when that Service's certain links lead to its text."""
    plugins = {"service": bench.plugin()}
    link = {"USER_PORT": "tcp://10.0.0.1:5432", "USER_SERVICE_HOST": "10.0.0.1", "USER_SERVICE_PORT": "80"}
    ignored = bench.read(link, plugins=plugins, prefix="USER")
    assert ignored.plugins["service"].given == frozenset()
    assert ignored.warnings[0].what == "ignored USER_SERVICE_HOST, USER_SERVICE_PORT"

    own = bench.read({**link, "USER_SERVICE_HOST": "db.local"}, plugins=plugins, prefix="USER")
    assert own.plugins["service"].given == {"host", "port"}
    assert own.warnings == ()


def test_settings_that_only_look_like_links_are_read(bench: Any) -> None:
    """A setting whose prefix ends in `service` is no link as long as nothing certain says so."""
    config = bench.read(
        {"USER_SERVICE_HOST": "10.0.0.1", "USER_SERVICE_PORT": "80"},
        plugins={"service": bench.plugin()},
        prefix="USER",
    )
    assert (config.plugins["service"].value.host, config.plugins["service"].value.port) == ("10.0.0.1", 80)
    assert config.warnings == ()


def test_a_misspelt_setting_of_a_plugin_called_port_is_no_link(bench: Any) -> None:
    """The word SERVICE in the service prefix makes no links of the variables below it."""
    config = bench.read({"USER_SERVICE_PORT_HOTS": "x"}, plugins={"port": bench.plugin()})
    assert [warning.code for warning in config.warnings] == ["config.unknown_variable"]


def test_links_to_other_services_are_nobodys_concern(bench: Any) -> None:
    """Links that meet no name of ours are not even noticed."""
    config = bench.read({"OTHER_PORT": "tcp://10.0.0.1:80", "USER_SERVICE_PORT": "tcp://10.0.0.1:80"})
    assert config.warnings == ()


def test_links_are_recognised_without_a_service_prefix(bench: Any) -> None:
    """A Service called like the plugin's prefix is the usual case where the service prefix is empty."""
    config = bench.read({"PGSQL_PORT": "tcp://10.0.0.1:1", "PGSQL_SERVICE_HOST": "10.0.0.1"}, prefix="")
    assert config.plugins["pgsql"].value.port == 5432
    assert [warning.code for warning in config.warnings] == ["config.service_links"]


def test_a_link_in_an_env_file_is_a_mistake(bench: Any) -> None:
    """Kubernetes writes no env files, so that a link's text in one is an error like any other."""
    config = bench.read(env_files={".env": "USER_SERVICE_PGSQL_PORT=tcp://10.0.0.1:5432"})
    assert [problem.what for problem in config.problems] == ["expected an integer, got 'tcp://10.0.0.1:5432'"]
