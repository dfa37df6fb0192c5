"""``toolkit describe``: services, methods, routes and plugins as a tree."""

from __future__ import annotations

import json
from typing import Any

import click

from toolkit.cli.inputs import Inputs, service_options
from toolkit.errors import ExitCode
from toolkit.manifest import MethodDeclaration, PluginDeclaration, ServiceDeclaration
from toolkit.runtime.setup import Setup

__all__ = ["describe_command"]


@click.command("describe")
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON, for machines.")
def describe_command(as_json: bool, **options: Any) -> int:
    """Show what a manifest declares: services, methods and routes, plugins, and who uses which.

    \b
      toolkit describe service.pb
    """
    inputs = Inputs(**options)
    setup = inputs.prepare(inputs.read(compile_protos=True), require_handlers=False)
    if as_json:
        click.echo(json.dumps(_as_dict(setup), indent=2))
    else:
        _draw(setup)
    return ExitCode.OK


def _uses(setup: Setup, path: str) -> list[str]:
    return sorted(setup.plan.uses.get(path, ()))


def _users(setup: Setup, prefix: str) -> list[str]:
    return [method.path for method in setup.manifest.methods() if prefix in setup.plan.uses.get(method.path, ())]


def _routes(method: MethodDeclaration) -> list[str]:
    lines = [f"{rule.verb} {rule.path}" for rule in method.http]
    if method.route.http_proxy is not None:
        lines.append(f"HTTP proxy to {method.route.http_proxy.service} {method.route.http_proxy.method}")
    if method.route.websocket_proxy is not None:
        target = method.route.websocket_proxy
        lines.append(f"WebSocket proxy to {target.service} {target.method}")
    if method.route.websocket:
        lines.append("WebSocket")
    return lines


def _as_dict(setup: Setup) -> dict[str, Any]:
    return {
        "services": [
            {
                "name": service.full_name,
                "served": service.served,
                "servers": [kind.name for kind in service.servers],
                "location": str(service.location),
                "methods": [
                    {
                        "name": method.name,
                        "path": method.path,
                        "cardinality": method.cardinality.value,
                        "request": method.input_type,
                        "reply": method.output_type,
                        "routes": _routes(method),
                        "plugins": _uses(setup, method.path),
                    }
                    for method in service.methods
                ],
            }
            for service in setup.manifest.services
        ],
        "plugins": [
            {
                "prefix": plugin.prefix,
                "type": plugin.type,
                "critical": _is_critical(setup, plugin),
                "needs": list(plugin.needs),
                "location": str(plugin.location),
                "used_by": _users(setup, plugin.prefix),
            }
            for plugin in setup.manifest.plugins
        ],
        "clients": [client.name for client in setup.manifest.clients],
        "env_prefix": setup.env_prefix.value,
    }


def _is_critical(setup: Setup, plugin: PluginDeclaration) -> bool | None:
    config = setup.config.plugins.get(plugin.prefix)
    return config.critical if config is not None else plugin.critical


def _draw(setup: Setup) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    app = setup.manifest.app
    title = Text(app.name if app and app.name else "service", style="bold")
    if app and app.version:
        title.append(f" {app.version}", style="dim")
    if app and app.description:
        title.append(f"  {app.description}", style="dim")
    tree = Tree(title)
    services = tree.add(Text("services", style="bold"))
    for service in setup.manifest.services:
        _add_service(services.add(_service_line(service)), setup, service)
    plugins = tree.add(Text("plugins" if setup.manifest.plugins else "no plugins", style="bold"))
    for plugin in setup.manifest.plugins:
        node = plugins.add(_plugin_line(setup, plugin))
        for path in _users(setup, plugin.prefix):
            node.add(Text(path.lstrip("/")))
    if setup.manifest.clients:
        clients = tree.add(Text("clients (not served yet)", style="bold"))
        for client in setup.manifest.clients:
            clients.add(Text(client.name))
    Console(highlight=False, soft_wrap=True).print(tree)


def _service_line(service: ServiceDeclaration) -> Any:
    from rich.text import Text

    line = Text(service.full_name, style="cyan")
    faces = ", ".join(kind.name for kind in service.servers) or "GRPC"
    line.append(f"  {faces if service.served else 'not served here'}", style="dim")
    return line.append(f"  {service.location}", style="dim")


def _add_service(node: Any, setup: Setup, service: ServiceDeclaration) -> None:
    from rich.text import Text

    for method in service.methods:
        line = Text(method.name)
        line.append(f"  {method.cardinality.value}", style="dim")
        for route in _routes(method):
            line.append(f"  {route}", style="green")
        used = _uses(setup, method.path)
        if used:
            line.append(f"  uses {', '.join(used)}", style="magenta")
        node.add(line)


def _plugin_line(setup: Setup, plugin: PluginDeclaration) -> Any:
    from rich.text import Text

    line = Text(plugin.prefix, style="magenta")
    line.append(f"  {plugin.type}")
    if plugin.prefix in setup.plugins:
        line.append("  critical" if _is_critical(setup, plugin) else "  not critical", style="dim")
    else:
        line.append("  not served yet", style="yellow")
    if plugin.needs:
        line.append(f"  needs {', '.join(plugin.needs)}", style="dim")
    return line.append(f"  {plugin.location}", style="dim")
