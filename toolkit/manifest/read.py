"""The reader: FileDescriptorSets in, one Manifest out, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor_pool import DescriptorPool

from toolkit.manifest.conflicts import check_doubts
from toolkit.manifest.files import merge_sets
from toolkit.manifest.findings import Findings
from toolkit.manifest.model import Manifest, ServiceDeclaration
from toolkit.manifest.options import OptionReader, Options
from toolkit.manifest.plugins import (
    check_names,
    check_needs,
    merge_apps,
    merge_clients,
    merge_plugins,
    read_plugins,
)
from toolkit.manifest.pool import build_pool, locate
from toolkit.manifest.services import FoundService, check_proxies, choose_served, declare_service, find_services
from toolkit.manifest.sets import DescriptorSet, parse_set

__all__ = ["read_manifest"]

_FILE_OPTIONS = (8,)


def read_manifest(*sets: bytes, services: Sequence[str] = (), names: Sequence[str] = ()) -> Manifest:
    """Read FileDescriptorSets, as protoc, buf and ``toolkit compile`` write them, as one manifest.

    ``services`` are the full names of the services to serve, instead of those that the sets
    mean. ``names`` are what reports call the sets, e.g. their files; by default their number.

    Raises:
        ManifestError: with all that is wrong, each problem with its place.
    """
    findings = Findings()
    parsed = _parse_sets(sets, names, findings)
    files, doubts = merge_sets(parsed, findings)
    findings.check()
    pool = build_pool(files, findings)
    check_doubts(doubts, pool, findings)
    findings.check()
    reader = OptionReader(pool)
    found = find_services(files, reader)
    served = choose_served(found, parsed, services, findings)
    our_files = {service.file.name for service in found if service.full_name in served}
    file_options = {
        file.name: reader.read("File", file.descriptor.options, file.source, _FILE_OPTIONS, findings)
        for file in files
        if file.name in our_files
    }
    declared, service_options = _declare_services(found, served, pool, reader, findings)
    check_proxies(declared, findings)
    plugins = merge_plugins(
        (
            plugin
            for name, options in file_options.items()
            for plugin in read_plugins(options, service_options[name], findings)
        ),
        findings,
    )
    clients = merge_clients(file_options.values(), findings)
    app = merge_apps(file_options.values(), findings)
    check_names(plugins, clients, findings)
    check_needs(plugins, findings)
    findings.check()
    by_name = {file.name: file for file in files}
    return Manifest(
        services=declared,
        plugins=plugins,
        clients=clients,
        app=app,
        files=tuple(by_name),
        pool=pool,
        locate=lambda full_name: locate(full_name, pool, by_name),
    )


def _parse_sets(sets: Sequence[bytes], names: Sequence[str], findings: Findings) -> list[DescriptorSet]:
    """Every set, or else what is wrong with each that is none."""
    if not sets:
        findings.add(
            "no_set",
            "no descriptor set was given",
            fix="give one; this makes it: toolkit compile service.proto -o service.pb",
        )
    parsed = [parse_set(data, _label(index, len(sets), names), findings) for index, data in enumerate(sets)]
    findings.check()
    return [one for one in parsed if one is not None]


def _declare_services(
    found: Sequence[FoundService],
    served: frozenset[str],
    pool: DescriptorPool,
    reader: OptionReader,
    findings: Findings,
) -> tuple[tuple[ServiceDeclaration, ...], dict[str, list[tuple[str, Options]]]]:
    """All services; and by file, the names and options of those that are served."""
    declared: list[ServiceDeclaration] = []
    service_options: dict[str, list[tuple[str, Options]]] = {}
    for service in found:
        mine = service.full_name in served
        # What is wrong with other people's services is no reason to refuse ours.
        kept = findings if mine else Findings(keep=False)
        declaration, options = declare_service(service, pool, reader, kept, served=mine)
        declared.append(declaration)
        if mine:
            service_options.setdefault(service.file.name, []).append((service.full_name, options))
    return tuple(declared), service_options


def _label(index: int, count: int, names: Sequence[str]) -> str:
    if index < len(names):
        return names[index]
    return "descriptor set" if count == 1 else f"descriptor set {index + 1}"
