"""Users in PostgreSQL. Everything of one call runs in one transaction, committed when the call ends well."""

from collections.abc import AsyncIterator

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from toolkit import component
from users.models import UserRow


class EmailTakenError(Exception):
    """Another user has this email address."""


@component
class UserRepository:
    """Built for each call, because its session belongs to the call."""

    def __init__(self, pgsql: AsyncSession) -> None:
        self._session = pgsql

    async def add(self, name: str, email: str) -> UserRow:
        row = UserRow(name=name, email=email)
        self._session.add(row)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise EmailTakenError(email) from error
        await self._session.refresh(row)
        return row

    async def find(self, user_id: int) -> UserRow | None:
        return await self._session.get(UserRow, user_id)


async def stream_users(sessions: async_sessionmaker[AsyncSession], limit: int | None) -> AsyncIterator[UserRow]:
    """Every user, oldest first, without holding them all in memory."""
    async with sessions() as session:
        async for row in await session.stream_scalars(select(UserRow).order_by(UserRow.id).limit(limit)):
            yield row
