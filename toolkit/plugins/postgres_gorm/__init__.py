"""``postgres_gorm`` (also ``postgres_sqlalchemy``): SQLAlchemy's asyncio ORM over asyncpg."""

from toolkit.plugins.postgres_gorm.database import Database, PoolFigures
from toolkit.plugins.postgres_gorm.definition import plugin
from toolkit.plugins.postgres_gorm.settings import PostgresSettings

__all__ = ["Database", "PoolFigures", "PostgresSettings", "plugin"]
