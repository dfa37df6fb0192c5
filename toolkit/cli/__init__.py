"""The command line: run, check, env, describe, compile, call."""

from toolkit.cli.main import main, run_main

__all__ = ["main", "run_main"]
