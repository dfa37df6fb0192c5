"""Fixtures for tests of services and plugins; loaded by pytest through an entry point."""
