from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from attrs import validators
from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.manifest.model import AppDeclaration, Location, Manifest, PluginDeclaration, ServiceDeclaration
from toolkit.plugins import Plugin, setting
from toolkit.runtime.config import Config, EnvPrefix, parse_env_file, read_config


@attrs.frozen(kw_only=True)
class DatabaseSettings:
    dsn: str = setting("", help="Everything in one URL.", secret=True)
    host: str = setting("localhost", help="Host name or address.")
    port: int = setting(5432, help="TCP port.", validator=[validators.ge(1), validators.le(65535)])
    password: str = setting("", help="Password.", secret=True)
    pool_size: int = setting(5, help="Connections kept open.", validator=validators.gt(0))
    debug: bool = setting(False, help="Log every statement.")
    timeout: float = setting(2.0, help="Of one connection attempt.", unit="seconds")
    buffer: int = setting(64 * 1024, help="Read buffer.", unit="bytes")


@attrs.frozen(kw_only=True)
class ReplicaSettings:
    host: str = setting("localhost", help="Host name or address.")
    read_host: str = setting("localhost", help="Host of the replica.")


@contextlib.asynccontextmanager
async def open_nothing(config: Any, host: Any) -> AsyncIterator[Any]:
    yield config


async def check_nothing(resource: Any) -> None:
    pass


def make_plugin(config: type[Any] = DatabaseSettings, **options: Any) -> Plugin[Any, Any]:
    options.setdefault("name", "database")
    return Plugin(config=config, open=open_nothing, check=check_nothing, provides={}, **options)


def declare(prefix: str, *, line: int = 12, type: str = "database", **options: Any) -> PluginDeclaration:  # noqa: A002
    return PluginDeclaration(prefix=prefix, type=type, location=Location("user.proto", line), **options)


def make_manifest(
    plugins: Sequence[PluginDeclaration] = (),
    *,
    services: Sequence[str] = ("shop.v1.UserService",),
    app: AppDeclaration | None = None,
) -> Manifest:
    return Manifest(
        services=tuple(
            ServiceDeclaration(full_name=name, methods=(), served=True, location=Location("user.proto", 20 + number))
            for number, name in enumerate(services)
        ),
        plugins=tuple(plugins),
        clients=(),
        app=app,
        files=("user.proto",),
        pool=DescriptorPool(),
    )


def read(
    environ: Mapping[str, str] | None = None,
    *,
    plugins: Mapping[str, Plugin[Any, Any]] | None = None,
    declarations: Sequence[PluginDeclaration] | None = None,
    prefix: str = "USER_SERVICE",
    env_files: Mapping[str, str] | None = None,
    **options: Any,
) -> Config:
    """The configuration of one ``database`` under ``pgsql``, unless told otherwise."""
    plugins = {"pgsql": make_plugin()} if plugins is None else plugins
    declarations = [declare(name) for name in plugins] if declarations is None else declarations
    return read_config(
        make_manifest(declarations),
        plugins,
        env_prefix=EnvPrefix(value=prefix, origin="--env-prefix"),
        environ=environ or {},
        env_files=[parse_env_file(name, text) for name, text in (env_files or {}).items()],
        **options,
    )


@attrs.frozen(kw_only=True)
class Bench:
    """What the tests of the configuration are built from."""

    read: Callable[..., Config] = read
    plugin: Callable[..., Plugin[Any, Any]] = make_plugin
    declare: Callable[..., PluginDeclaration] = declare
    manifest: Callable[..., Manifest] = make_manifest
    database: type[Any] = DatabaseSettings
    replica: type[Any] = ReplicaSettings


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()
