"""Fixtures for tests of services and plugins; loaded by pytest through an entry point."""

from toolkit.testing.servers import postgres_database, postgres_server, redis_database, redis_server

__all__ = ["postgres_database", "postgres_server", "redis_database", "redis_server"]
