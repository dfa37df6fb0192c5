"""What to try next, printed by ``--dev`` once the service takes calls."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from google.protobuf.descriptor import FieldDescriptor

from toolkit.manifest import Cardinality, MethodDeclaration
from toolkit.runtime.app import App

__all__ = ["example_request", "show_hints"]

#: What people recognise at once, by field name.
_FAMILIAR: dict[str, str] = {"name": "Ada", "email": "ada@example.com", "title": "Notes on the Engine", "text": "Hello"}


def show_hints(app: App, *, sources: list[Path]) -> None:
    """Print the addresses, three commands to try, and where to look next, on stderr."""
    toolkit = os.environ.get("TOOLKIT_COMMAND", "toolkit")
    address = app.grpc_address.replace("0.0.0.0:", "localhost:").replace("[::]:", "localhost:")
    source = " ".join(str(path) for path in sources)
    lines = ["", click.style(f"{app.name} is up", bold=True, fg="green") + click.style("   Ctrl-C stops it", dim=True)]
    lines.append(f"  gRPC   {address}  (with reflection and health)")
    lines.extend(_servers(app))
    lines += ["", click.style("Try, in a second terminal:", bold=True)]
    lines += [f"  {toolkit} call {address}"]
    method = next((item for item in app.manifest.methods() if item.cardinality is Cardinality.UNARY_UNARY), None)
    if method is not None:
        request = json.dumps(_request_of(app, method))
        lines += [f"  {toolkit} call {address} {method.path.lstrip('/')} '{request}'"]
    lines += [f"  {toolkit} env {source}"]
    lines += ["", click.style("Look next:", bold=True)]
    lines += [f"  {place}" for place in _places(app, sources)]
    click.echo("\n".join([*lines, ""]), err=True)


def _servers(app: App) -> list[str]:
    width = max((len(item.prefix) for item in app.registry), default=0)
    return [f"  {item.prefix:<{width}}  {item.type} at {item.plugin.address(item.config)}" for item in app.registry]


def _places(app: App, sources: list[Path]) -> list[str]:
    places = [f"{path}: the manifest" for path in sources]
    for name in app.setup.handler_modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            places.append(f"{os.path.relpath(file)}: the handlers")
    return places


def _request_of(app: App, method: MethodDeclaration) -> dict[str, Any]:
    return example_request(app.manifest.message(method.input_type).DESCRIPTOR)


def example_request(message: Any) -> dict[str, Any]:
    """A small JSON request that fits the message: its first plain fields, with values that read well."""
    request: dict[str, Any] = {}
    for field in message.fields:
        if field.is_repeated or field.message_type is not None or field.containing_oneof is not None:
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_STRING:
                request[field.name] = _FAMILIAR.get(field.name, field.name)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            request[field.name] = True
        elif field.cpp_type != FieldDescriptor.CPPTYPE_ENUM:
            request[field.name] = 1
        if len(request) == 3:
            break
    return request
