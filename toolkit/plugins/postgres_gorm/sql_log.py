"""``DEBUG``: statements in the log, never with the values of their parameters."""

from __future__ import annotations

import time
from typing import Any

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

__all__ = ["SQL_EXECUTED", "SQL_FAILED", "SQL_WAS_SLOW", "log_sql"]

SQL_EXECUTED = "toolkit.sql_executed"
SQL_FAILED = "toolkit.sql_failed"
SQL_WAS_SLOW = "toolkit.sql_was_slow"

#: From here on a statement is slow, in seconds.
_SLOW = 0.2
_STARTED = "toolkit.sql_started"
_VERBOSITY = {"off": 0, "false": 0, "0": 0, "error": 1, "warn": 2, "info": 3, "true": 3, "1": 3}


def log_sql(engine: Engine, level: str, log: structlog.typing.FilteringBoundLogger) -> None:
    """Log the statements of an engine: ``error`` those that fail, ``warn`` also slow ones, ``info`` all."""
    verbosity = _VERBOSITY[level]
    if verbosity >= 1:
        event.listen(engine, "handle_error", lambda context: _log_failure(context, log))
    if verbosity >= 2:
        _log_executed(engine, log, slow_only=verbosity == 2)


def _log_failure(context: ExceptionContext, log: structlog.typing.FilteringBoundLogger) -> None:
    # The server's message and detail may quote values; its code and the error's name do not.
    error = context.original_exception
    log.error(
        SQL_FAILED,
        statement=context.statement,
        # The cause is asyncpg's own error; SQLAlchemy's adapter has fewer names.
        error=type(error.__cause__ or error).__name__,
        sqlstate=getattr(error, "sqlstate", None),
    )


def _log_executed(engine: Engine, log: structlog.typing.FilteringBoundLogger, *, slow_only: bool) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def _begin(connection: Any, _cursor: Any, _statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        connection.info[_STARTED] = time.monotonic()

    @event.listens_for(engine, "after_cursor_execute")
    def _end(connection: Any, cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        seconds = time.monotonic() - connection.info[_STARTED]
        fields = {"statement": statement, "duration_ms": round(seconds * 1000, 1), "rows": cursor.rowcount}
        if seconds >= _SLOW:
            log.warning(SQL_WAS_SLOW, **fields)
        elif not slow_only:
            log.info(SQL_EXECUTED, **fields)
