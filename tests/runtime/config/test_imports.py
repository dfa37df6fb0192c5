from __future__ import annotations

import json
import subprocess
import sys

READ = """
import json, sys
from google.protobuf.descriptor_pool import DescriptorPool
from toolkit.manifest.model import Location, Manifest, ServiceDeclaration
from toolkit.runtime.config import parse_env_file, pick_env_prefix, read_config

service = ServiceDeclaration(full_name="a.Lean", methods=(), served=True, location=Location("a.proto", 1))
manifest = Manifest(services=(service,), plugins=(), clients=(), app=None, files=(), pool=DescriptorPool())
config = read_config(manifest, {}, env_prefix=pick_env_prefix(None, None, manifest), environ=json.loads(sys.argv[1]))
assert config.problems == (), config.problems
print(json.dumps([config.runtime.grpc_server_port, config.runtime.log_format, config.runtime.shutdown_timeout]))
print(json.dumps([name for name in ("environs", "marshmallow", "dotenv", "rapidfuzz") if name in sys.modules]))
"""


def run(environ: dict[str, str]) -> list[object]:
    process = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(environ)], capture_output=True, text=True, check=True, timeout=30
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_a_lean_service_pays_for_no_parser() -> None:
    """Texts that are their own values, as a container sets them, are read without environs and marshmallow."""
    values, imported = run({"LEAN_GRPC_SERVER_PORT": "0", "LEAN_LOG_FORMAT": "json", "LEAN_SHUTDOWN_TIMEOUT": "20"})
    assert values == [0, "json", 20.0]
    assert imported == []


def test_a_text_that_needs_a_parser_gets_it() -> None:
    """What is not plain is read by environs, to the same types."""
    values, imported = run({"LEAN_GRPC_SERVER_PORT": " +1 ", "LEAN_LOG_FORMAT": "JSON", "LEAN_SHUTDOWN_TIMEOUT": "1m"})
    assert values == [1, "json", 60.0]
    assert isinstance(imported, list)
    assert "environs" in imported
