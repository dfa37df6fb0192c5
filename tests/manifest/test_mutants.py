"""Mutants of real sets: reading one ends in a manifest or in a ManifestError, soon, and never otherwise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifest.compilers import PROTOS, run_buf
from toolkit.cli.compile import schemas_path

ROOT = PROTOS.parent.parent

#: 20 of these are read, each from its own seed.
MUTANTS = 1_000


@pytest.fixture(scope="session")
def corpus(protos: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of protoc and buf, with and without source info, of all syntaxes, in one folder."""
    folder = tmp_path_factory.mktemp("corpus")
    sets = {
        "users": protos("shop/v1/users.proto"),
        "legacy": protos("shop/legacy.proto"),
        "audit": protos("shop/audit.proto", source_info=False),
        "report": protos("shop/report.proto"),
        "gateway": protos("gateway.proto", source_info=False),
        "golang": protos("golang.proto", includes=(PROTOS / "upstream",)),
        "all": protos("gateway.proto", "shop/v1/users.proto", "shop/legacy.proto", "shop/audit.proto"),
        "bare": protos("shop/v1/users.proto", imports=False),
    }
    workspace = tmp_path_factory.mktemp("workspace")
    shutil.copytree(schemas_path(), workspace, dirs_exist_ok=True)
    shutil.copy(PROTOS / "shop/legacy.proto", workspace)
    (workspace / "buf.yaml").write_text("version: v2\n")
    sets["buf"] = run_buf(workspace)
    for name, data in sets.items():
        (folder / f"{name}.pb").write_bytes(data)
    return folder


@pytest.mark.parametrize("seed", range(20))
def test_no_mutant_does_harm(corpus: Path, tmp_path: Path, seed: int) -> None:
    """A thousand mutants for each seed: no crash, no hang over a second, nothing raised but ManifestError."""
    # A process of its own, which may crash without taking the tests with it.
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.fuzz",
            *("--mutants", str(MUTANTS)),
            *("--seed", str(seed)),
            *("--corpus", str(corpus)),
            *("--out", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{MUTANTS:,} mutants, seed {seed}: 0 failures"


def test_a_failure_is_reported_and_kept(corpus: Path, tmp_path: Path) -> None:
    """A mutant that ends the reading process is found, named, and written to a file; the others are still read."""
    # The reader is replaced by one that fails as no reader may, at two of the mutants.
    sabotage = tmp_path / "sitecustomize.py"
    sabotage.write_text(
        "import os, sys\n"
        "if '--worker' in sys.orig_argv:\n"
        "    import toolkit.manifest as manifest\n"
        "    read, count = manifest.read_manifest, iter(range(int(sys.orig_argv[-3]), 10**9))\n"
        "    def broken(*sets):\n"
        "        number = next(count)\n"
        "        if number == 3: raise KeyError('three')\n"
        "        if number == 5: os.abort()\n"
        "        return read(*sets)\n"
        "    manifest.read_manifest = broken\n"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzz", "--mutants", "10", "--seed", "1", "--corpus", corpus, "--out", out],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"reproduce: {out}/1-3-0.pb" in done.stdout
    assert "KeyError: 'three'" in done.stdout
    assert f"FAILED 5: crashed the process (-6); reproduce: {out}/1-5-0.pb" in done.stdout
    assert done.stdout.splitlines()[-1] == "10 mutants, seed 1: 2 failures"
    assert {path.name for path in out.iterdir()} >= {"1-3-0.pb", "1-5-0.pb"}
