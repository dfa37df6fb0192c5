"""``python -m benchmarks`` lists the benchmarks, ``python -m benchmarks NAME …`` runs one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path


def list_benchmarks() -> dict[str, str]:
    """Every benchmark's name and the first line of what it says of itself; none is imported for that."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = text.partition("\n")[0]
    return found


def main() -> int:
    """Run what the first argument names, with the other arguments."""
    benchmarks = list_benchmarks()
    names = sys.argv[1:2]
    if names and names[0] in benchmarks:
        sys.argv = sys.argv[1:]
        runpy.run_module(f"benchmarks.{names[0]}", run_name="__main__", alter_sys=True)
        return 0
    width = max(map(len, benchmarks))
    print("\n".join(f"{name:<{width}}  {text}" for name, text in benchmarks.items()))
    if names and names[0] not in ("-h", "--help"):
        print(f"\nthere is no benchmark {names[0]!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
