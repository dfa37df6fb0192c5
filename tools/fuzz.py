"""Mutate real descriptor sets for longer than the tests do, and see that reading them never goes wrong.

``python -m tools.fuzz [--seconds N | --mutants N] [--seed S] [--corpus DIR]``

Every mutant follows from the seed and its number alone. They are read in a process of its
own, so that a crash of the process is found as well. On a failure the mutant is written to
``--out`` and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.cli.compile import compile_protos
from toolkit.errors import ManifestError
from toolkit.manifest import read_manifest
from tools.mutants import mutate

_PROTOS = Path(__file__).resolve().parent.parent / "tests" / "protos"

#: Seconds that one read may take.
_SLOW = 1.0
#: Seconds without a finished mutant, after which the reader is taken to hang.
_HANGS = 30.0
#: How many failures a run collects before it ends.
_ENOUGH = 10


def compile_corpus() -> dict[str, bytes]:
    """The sets that are mutated, compiled from the tests' protos."""
    sets = {
        path.stem: compile_protos([_PROTOS / path], includes=[_PROTOS])
        for path in map(
            Path, ("shop/v1/users.proto", "shop/legacy.proto", "shop/audit.proto", "shop/report.proto", "gateway.proto")
        )
    }
    sets["golang"] = compile_protos([_PROTOS / "golang.proto"], includes=[_PROTOS / "upstream", _PROTOS])
    sets["all"] = compile_protos([_PROTOS / "gateway.proto", _PROTOS / "shop"], includes=[_PROTOS])
    return sets


def read_corpus(folder: Path) -> dict[str, bytes]:
    """The sets of a folder, by file name."""
    sets = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.pb"))}
    if not sets:
        raise SystemExit(f"{folder}: there is no .pb to mutate")
    return sets


def make_mutant(corpus: Mapping[str, bytes], seed: int, number: int) -> tuple[str, list[bytes]]:
    """The mutant of this number."""
    return mutate(random.Random(f"{seed}/{number}"), corpus)


def judge(sets: Sequence[bytes]) -> tuple[str, str]:
    """Read a mutant: what came out in a word, and what went wrong, if anything."""
    # A busy machine makes one read slow, but not three.
    for _ in range(3):
        began = time.perf_counter()
        outcome, wrong = _read(sets)
        took = time.perf_counter() - began
        if wrong or took <= _SLOW:
            return outcome, wrong
    return outcome, f"took {took:.2f} s"


def _read(sets: Sequence[bytes]) -> tuple[str, str]:
    try:
        manifest = read_manifest(*sets)
    except ManifestError as error:
        good = error.problems and str(error)
        return error.problems[0].code if good else "raised", "" if good else "a ManifestError without problems"
    except BaseException:  # noqa: BLE001 -- whatever it is, it is what this program looks for
        return "raised", traceback.format_exc()
    try:
        for method in manifest.methods():
            for name in (method.input_type, method.output_type):
                manifest.message(name)()
                manifest.location_of(name)
    except BaseException:  # noqa: BLE001 -- as above
        return "unusable", traceback.format_exc()
    return "read", ""


def work(corpus: Mapping[str, bytes], seed: int, first: int, progress: Path, *, until: float, count: int) -> None:
    """Read mutants until the time or the count is up; after each, note how far it came."""
    outcomes: Counter[str] = Counter()
    failures = 0
    with progress.open("r+b", buffering=0) as file:
        number = first
        while number - first < count and time.time() < until and failures < _ENOUGH:
            kind, sets = make_mutant(corpus, seed, number)
            file.seek(0)
            file.write(struct.pack("<q", number))
            outcome, wrong = judge(sets)
            outcomes[outcome] += 1
            if wrong:
                failures += 1
                print(f"FAILED {number} {kind}\n{wrong}", flush=True)
            number += 1
    print("DONE", number - first, failures, *(f"{key}={value}" for key, value in outcomes.most_common()), flush=True)


def save(out: Path, corpus: Mapping[str, bytes], seed: int, number: int) -> Path:
    """Write a mutant's sets, so that the failure can be seen again without the corpus."""
    _, sets = make_mutant(corpus, seed, number)
    out.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(sets):
        (out / f"{seed}-{number}-{index}.pb").write_bytes(data)
    return out / f"{seed}-{number}-0.pb"


def run(corpus: Mapping[str, bytes], folder: Path, options: argparse.Namespace) -> int:
    """Let one process after the other read mutants; a new one begins behind the mutant that ended the last."""
    until = time.time() + options.seconds if options.seconds else float("inf")
    count = options.mutants or (sys.maxsize if options.seconds else 20_000)
    total, failures = 0, 0
    while total < count and time.time() < until and failures < _ENOUGH:
        progress = folder / "progress"
        progress.write_bytes(struct.pack("<q", total))
        size = min(count - total, 5_000)
        arguments = [str(folder), str(options.seed), str(total), str(size), str(until)]
        worker = subprocess.Popen(
            [sys.executable, "-m", "tools.fuzz", "--worker", *arguments], stdout=subprocess.PIPE, text=True
        )
        output = _wait(worker, progress)
        last = struct.unpack("<q", progress.read_bytes())[0]
        for line in output.splitlines():
            if line.startswith("FAILED"):
                failures += 1
                print(f"reproduce: {save(options.out, corpus, options.seed, int(line.split()[1]))}")
            print(line if not line.startswith("DONE") else f"{total + size:>9,} {line}", flush=True)
        if worker.returncode != 0:
            failures += 1
            what = "hung" if worker.returncode == -9 else f"crashed the process ({worker.returncode})"
            print(f"FAILED {last}: {what}; reproduce: {save(options.out, corpus, options.seed, last)}", flush=True)
            total = last + 1
        else:
            total = last + 1 if until != float("inf") else total + size
    print(f"{total:,} mutants, seed {options.seed}: {failures} failures")
    return 1 if failures else 0


def _wait(worker: subprocess.Popen[str], progress: Path) -> str:
    """The worker's output; one that makes no progress is killed."""
    seen, since = progress.read_bytes(), time.monotonic()
    while True:
        try:
            return worker.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            now = progress.read_bytes()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _HANGS:
                worker.kill()


def main() -> int:
    """Read the command line and run, or be the process that reads."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, help="how long to run")
    parser.add_argument("--mutants", type=int, help="how many mutants to read [20,000 without --seconds]")
    parser.add_argument("--seed", type=int, help="what all mutants follow from [a random one]")
    parser.add_argument("--corpus", type=Path, help="a folder of .pb files to mutate [the tests' protos]")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="where failing mutants go")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, seed, first, size, until = options.worker
        corpus = read_corpus(Path(folder))
        work(corpus, int(seed), int(first), Path(folder, "progress"), until=float(until), count=int(size))
        return 0
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    with tempfile.TemporaryDirectory(prefix="toolkit-fuzz-") as scratch:
        corpus = read_corpus(options.corpus) if options.corpus else compile_corpus()
        for name, data in corpus.items():
            Path(scratch, f"{name}.pb").write_bytes(data)
        print(f"seed {options.seed}, mutating {', '.join(corpus)}", flush=True)
        return run(corpus, Path(scratch), options)


if __name__ == "__main__":
    sys.exit(main())
