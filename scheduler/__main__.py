"""`python -m scheduler`: the same as the command `scheduler`."""

from __future__ import annotations

from scheduler.cli import main

main()
