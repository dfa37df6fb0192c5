"""Users in the cache. A cache that is away makes reads slower, never wrong."""

import contextlib

from google.protobuf.message import Message
from redis.asyncio import Redis
from redis.exceptions import RedisError

from toolkit import component, settings
from toolkit.plugins import setting


@settings
class CacheSettings:
    """Read from the environment under the service's prefix."""

    cache_user_ttl: float = setting(60.0, help="How long a user stays in the cache", unit="seconds")


@component
class UserCache:
    """Best effort: what cannot be cached is read from the database."""

    def __init__(self, cache: Redis | None, settings: CacheSettings) -> None:
        self._redis = cache
        self._ttl = max(1, int(settings.cache_user_ttl))

    async def read(self, user_id: int) -> bytes | None:
        if self._redis is None:
            return None
        with contextlib.suppress(RedisError):
            found = await self._redis.get(f"user:{user_id}")
            return found if isinstance(found, bytes) else None
        return None

    async def store(self, user_id: int, user: Message) -> None:
        if self._redis is not None:
            with contextlib.suppress(RedisError):
                await self._redis.set(f"user:{user_id}", user.SerializeToString(), ex=self._ttl)
