"""Logs: structured, on stderr, so that stdout belongs to the command's answer.

Our loggers hand their fields to the standard library's logging, whose handlers decide: a
program that embeds a JobQueue keeps its own, the command line installs one of ours.
"""

from __future__ import annotations

import logging
import sys

import structlog


def logger(name: str, *first: structlog.typing.Processor) -> structlog.stdlib.BoundLogger:
    """The logger of this name; fields are keyword arguments of its methods.

    The `first` processors see a line before the logger's level is asked.
    """
    wrapped: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            *first,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return wrapped


configured: tuple[str, str] | None = None
"""What `configure` was last given, for processes that are to log alike; None if nothing."""


def configure(level: str, log_format: str) -> None:
    """Send our logs and those of the libraries to stderr, for a person or as JSON lines.

    `level` is debug, info, warning or error; `log_format` console, json or auto (console on
    a terminal).
    """
    global configured
    configured = (level, log_format)
    terminal = sys.stderr.isatty()
    as_text = log_format == "console" or (log_format == "auto" and terminal)
    rendered: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=terminal,
                # Not the rich one: it prints the local variables, secrets included.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    handler.addFilter(_is_shown)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)  # what jobs log goes on record also where it is not shown
    logging.getLogger("scheduler").setLevel(level.upper())
    # It warns of a call handed over while the last one returns, which is how a duty is woken.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a line is for the operator: ours at the level that was asked for, else warnings."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "scheduler"
