"""The service's methods."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from toolkit import Abort, Code, Context, Registry, Service, on_start
from users.cache import UserCache
from users.models import Model, UserRow
from users.repository import EmailTakenError, UserRepository, stream_users

users = Service("users.v1.UserService")


def as_message(row: UserRow) -> Message:
    user: Message = users.message("User")(id=row.id, name=row.name, email=row.email, created_at=row.created_at)
    return user


@on_start
async def create_tables(*, pgsql: AsyncEngine) -> None:
    async with pgsql.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)


@users.rpc
async def create_user(request: Any, context: Context, *, repository: UserRepository, user_cache: UserCache) -> Message:
    if not request.name or "@" not in request.email:
        raise Abort(Code.INVALID_ARGUMENT, "a user needs a name and an email address")
    try:
        row = await repository.add(request.name, request.email)
    except EmailTakenError:
        raise Abort(Code.ALREADY_EXISTS, "this email address is taken") from None
    user = as_message(row)
    # Not before the commit: a user that was rolled back must not be found in the cache.
    context.after_commit(lambda: user_cache.store(row.id, user))
    return user


@users.rpc
async def get_user(request: Any, *, repository: UserRepository, user_cache: UserCache) -> Message:
    if (cached := await user_cache.read(request.id)) is not None:
        found: Message = users.message("User").FromString(cached)
        return found
    row = await repository.find(request.id)
    if row is None:
        raise Abort(Code.NOT_FOUND, f"there is no user {request.id}")
    user = as_message(row)
    await user_cache.store(row.id, user)
    return user


@users.rpc
async def list_users(request: Any, *, pgsql: async_sessionmaker[AsyncSession]) -> AsyncIterator[Message]:
    async for row in stream_users(pgsql, request.limit or None):
        yield as_message(row)


@users.rpc
async def health_check(request: Any, *, registry: Registry) -> dict[str, Any]:
    plugins = {}
    for plugin in registry:
        try:
            await plugin.check()
            plugins[plugin.prefix] = "healthy"
        except Exception:
            if plugin.critical:
                raise Abort(Code.UNAVAILABLE, f"{plugin.prefix} is unhealthy") from None
            plugins[plugin.prefix] = "unavailable"
    healthy = all(state == "healthy" for state in plugins.values())
    return {"status": "healthy" if healthy else "degraded", "plugins": plugins}
