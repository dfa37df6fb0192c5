"""Logging: structlog for toolkit and the service, the standard library's loggers in the same form."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

__all__ = ["configure_logging", "get_logger"]


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose events carry this name."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(logger=name)
    return logger


def configure_logging(*, level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002
    """Send every event to ``stream`` (stderr), as coloured lines or as one JSON object a line.

    ``level`` is a name of the standard library's (``info``); ``format`` is ``console``,
    ``json``, or ``auto``: console when the stream is a terminal.
    """
    out = stream if stream is not None else sys.stderr
    console = format == "console" or (format == "auto" and out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
    ]
    renderer: list[structlog.typing.Processor]
    if console:
        renderer = [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=32
            )
        ]
    else:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_foreign, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else number)


def _name_foreign(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    return event
