"""The command line. Answers go to stdout, logs and errors to stderr.

Exit codes: 0 done, 1 a fault of ours, 2 a mistake in what was given, with one line about it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. What is wrong with the input is one line on stderr."""
    import typer

    from scheduler.cli.app import app
    from scheduler.cli.output import refuse
    from scheduler.errors import SchedulerError

    try:
        code = app(list(arguments), prog_name="scheduler", standalone_mode=False)
    except SchedulerError as error:
        return refuse(str(error))
    except typer.TyperException as error:
        return refuse(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `| head` does: no error, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
