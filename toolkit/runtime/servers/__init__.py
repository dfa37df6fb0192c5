"""Bytes to Context and back, one module an engine; they never import one another."""
