"""Whole numbers in bodies, as JSON Schema has them: 7 and 7.0 are one, "7" and true are none.

`Annotated[int, Field(ge=1), WHOLE]`; the limits first, or documents lose them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is wanted")
    return value


WHOLE = BeforeValidator(_whole)
