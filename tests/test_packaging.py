"""What an installed wheel brings."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_ships_schemas_types_and_entry_points(wheel: Path) -> None:
    """The wheel holds the schemas, py.typed and the licence, and nothing of the checkout beside."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        text = archive.read(entry_points).decode()
        metadata = archive.read(entry_points.replace("entry_points.txt", "METADATA")).decode()
    upstream = "github.com/lastbackend/toolkit/protoc-gen-toolkit/toolkit/options/annotations.proto"
    assert {
        "toolkit/py.typed",
        "toolkit/schemas/toolkit/annotations.proto",
        f"toolkit/schemas/{upstream}",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"toolkit"}
    assert "toolkit-run = toolkit.cli:run_main" in text
    assert "postgres_sqlalchemy = toolkit.plugins.postgres_gorm:plugin [postgres]" in text
    for extra in ("postgres", "redis", "dev"):
        assert f"Provides-Extra: {extra}" in metadata


def test_installed_wheel_finds_its_schemas_and_compiles(wheel: Path, tmp_path: Path) -> None:
    """Away from the checkout, `toolkit compile` works with the schemas that the wheel brought."""
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (tmp_path / "a.proto").write_text(
        'syntax = "proto3";\npackage a;\nimport "toolkit/annotations.proto";\nimport "google/api/annotations.proto";\n'
        'option (toolkit.plugins) = {prefix: "cache" plugin: "redis"};\n'
        "service S { rpc M(R) returns (R); }\nmessage R {}\n",
        encoding="utf-8",
    )
    # The wheel comes first on the path, before the checkout that this environment has.
    env = {**os.environ, "PYTHONPATH": str(target)}

    def run(*arguments: str) -> str:
        code = "import toolkit, sys; from toolkit.cli import main; main(sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("schemas").strip() == str(target / "toolkit" / "schemas")
    run("compile", "a.proto", "-o", "a.pb")
    assert "cache" in run("describe", "a.pb")
