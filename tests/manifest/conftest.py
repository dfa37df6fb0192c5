"""Descriptor sets for the tests of the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.manifest.compilers import PROTOS, run_protoc, write_files


@pytest.fixture
def compile_set(tmp_path: Path) -> Callable[..., bytes]:
    """Compile texts by file name with stock protoc; all of them, or the named targets."""
    count = 0

    def compile_texts(
        files: dict[str, str],
        *targets: str,
        includes: Sequence[Path] = (),
        source_info: bool = True,
        imports: bool = True,
    ) -> bytes:
        nonlocal count
        count += 1
        folder = tmp_path / f"protos{count}"
        write_files(folder, files)
        return run_protoc(folder, targets or tuple(files), includes=includes, source_info=source_info, imports=imports)

    return compile_texts


@pytest.fixture(scope="session")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Compile files of tests/protos with stock protoc, each combination once."""
    done: dict[tuple[object, ...], bytes] = {}

    def compile_files(
        *targets: str, includes: Sequence[Path] = (), source_info: bool = True, imports: bool = True
    ) -> bytes:
        key = (targets, tuple(includes), source_info, imports)
        if key not in done:
            folder = tmp_path_factory.mktemp("set")
            done[key] = run_protoc(
                folder, targets, includes=[*includes, PROTOS], source_info=source_info, imports=imports
            )
        return done[key]

    return compile_files
