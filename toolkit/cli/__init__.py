"""The command line: run, check, env, describe, compile, call."""
