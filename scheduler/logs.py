"""Logs: structured, on stderr, so that stdout belongs to the command's answer.

Our loggers hand their fields to the standard library's logging, whose handlers decide: a
program that embeds a JobQueue keeps its own, the command line installs one of ours.
"""

from __future__ import annotations

import logging
import sys

import structlog


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of this name; fields are keyword arguments of its methods."""
    wrapped: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return wrapped


def configure(level: str, log_format: str) -> None:
    """Send our logs and those of the libraries to stderr, for a person or as JSON lines.

    `level` is debug, info, warning or error; `log_format` console, json or auto (console on
    a terminal).
    """
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
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("scheduler").setLevel(level.upper())
    # It warns of a call handed over while the last one returns, which is how a duty is woken.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
