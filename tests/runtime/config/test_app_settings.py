from __future__ import annotations

from typing import Any

import pytest
from attrs import validators

from toolkit.plugins import setting
from toolkit.runtime.config import Config
from toolkit.runtime.settings import settings


def texts(config: Config) -> list[str]:
    return [str(problem) for problem in config.problems]


@settings
class Limits:
    max_orders: int = setting(5, help="Open orders of a user.", validator=validators.gt(0))
    grace: float = setting(60.0, help="Before an order expires.", unit="seconds")


def test_the_apps_settings_are_read_under_the_service_prefix(bench: Any) -> None:
    """A settings class is read by the same rules, and found by its type."""
    config = bench.read(
        {"USER_SERVICE_MAX_ORDERS": "7"}, env_files={".env": "USER_SERVICE_GRACE=1m30s"}, app_settings=[Limits]
    )
    assert config.problems == ()
    assert config.app == {Limits: Limits(max_orders=7, grace=90.0)}
    assert [variable.name for variable in config.variables if variable.kind == "app"] == [
        "USER_SERVICE_MAX_ORDERS",
        "USER_SERVICE_GRACE",
    ]


def test_a_wrong_app_setting_is_reported_with_its_class(bench: Any) -> None:
    """The report names the class and the line that declare the setting."""
    config = bench.read({"USER_SERVICE_MAX_ORDERS": "0"}, app_settings=[Limits])
    line = config.problems[0].why.rpartition(":")[2]
    assert texts(config) == [
        "USER_SERVICE_MAX_ORDERS: 'max_orders' must be > 0: 0\n"
        '    set in the environment; it is "max_orders" of settings class Limits,'
        f" declared at test_app_settings.py:{line}\n"
        "  → correct USER_SERVICE_MAX_ORDERS in the environment, or remove it to use the default 5"
    ]
    assert config.app == {}


def test_every_legal_variable_is_listed(bench: Any) -> None:
    """The list has each plugin's own and common settings, the app's and the runtime's, whether set or not."""
    config = bench.read(app_settings=[Limits])
    assert [variable.kind for variable in config.variables] == ["plugin"] * 8 + ["common"] * 4 + ["app"] * 2 + [
        "runtime"
    ] * 9
    port = config.variable("port", plugin="pgsql")
    assert (port.name, port.type, port.default, port.required, port.secret, port.origin, port.is_set, port.help) == (
        "USER_SERVICE_PGSQL_PORT",
        "integer",
        "5432",
        False,
        False,
        "default",
        False,
        "TCP port.",
    )
    assert port.owner == 'plugin "pgsql" (database), declared at user.proto:12'
    assert config.variable("grpc_server_port").name == "USER_SERVICE_GRPC_SERVER_PORT"
    with pytest.raises(KeyError):
        config.variable("port")
