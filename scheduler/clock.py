"""The one reader of the wall clock; what a frozen test freezes.

Every other module is handed its `now`. Waits and durations use monotonic time, so that a
clock that is set back or forward moves no wait.
"""

from __future__ import annotations

import datetime


def now() -> datetime.datetime:
    """The current instant, aware, in UTC, to the microsecond."""
    # Through the module: freezegun replaces the name in `datetime`, not our binding of it.
    return datetime.datetime.now(datetime.UTC)
