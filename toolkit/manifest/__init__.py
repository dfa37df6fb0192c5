"""Bytes in, frozen values out: a FileDescriptorSet read as a service's manifest."""

from toolkit.manifest.model import (
    AppDeclaration,
    Cardinality,
    ClientDeclaration,
    HttpRule,
    Location,
    Manifest,
    MethodDeclaration,
    PluginDeclaration,
    ProxyTarget,
    RouteDeclaration,
    ServerKind,
    ServiceDeclaration,
)
from toolkit.manifest.read import read_manifest

__all__ = [
    "AppDeclaration",
    "Cardinality",
    "ClientDeclaration",
    "HttpRule",
    "Location",
    "Manifest",
    "MethodDeclaration",
    "PluginDeclaration",
    "ProxyTarget",
    "RouteDeclaration",
    "ServerKind",
    "ServiceDeclaration",
    "read_manifest",
]
