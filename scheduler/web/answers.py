"""What every answer is: ASCII JSON, and a refusal in one shape.

{"detail": [{"field", "value", "reason", "hint", "message"}]}. Answers pass no model on the way
out: every text that a job can carry, half a surrogate pair too, leaves as it came in.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse

from scheduler.errors import shown


class AsciiJSON(JSONResponse):
    """JSON that escapes what is not ASCII: a lone surrogate is valid in JSON, not in UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(status: int, field: str, value: object, reason: str, hint: str = "") -> AsciiJSON:
    """A 4xx or 5xx answer: what was wrong, its value, why, and the mend."""
    return AsciiJSON({"detail": [detail(field, value, reason, hint)]}, status)


def detail(field: str, value: object, reason: str, hint: str = "") -> dict[str, str]:
    """One entry of a refusal."""
    seen = shown(value if isinstance(value, str) else json.dumps(value, default=str))
    what = f"{field}: {seen}" if seen else f"{field}:"
    message = f"{what} {reason}" + (f"; {hint}" if hint else "")
    return {"field": field, "value": seen, "reason": reason, "hint": hint, "message": message}
