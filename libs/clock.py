"""The only source of wall time. Tests move it by hand with `frozen`; leases and `due_at` use the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731 - replaced as a whole by `frozen`


def now() -> datetime:
    """The present moment, aware, UTC."""
    return _now()


@contextmanager
def frozen(at: datetime) -> Iterator[None]:
    """Hold the clock at `at` (aware) inside the block."""
    global _now
    before, _now = _now, lambda: at
    try:
        yield
    finally:
        _now = before


def rfc3339(moment: datetime) -> str:
    """`2026-07-11T12:01:58.023000Z`: always UTC, always six digits, so that text sorts as time does."""
    # isoformat, as strftime leaves years before 1000 unpadded: those would sort after all others.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
