"""What somebody saw, and the same without what is new in every run: ids by their order, times by the step they fell into.

Neither can hide another's data. Ids are numbered as they appear, so one that comes between or twice moves all after it; and
whose they are is asked besides (`ids`). A time of the house's is written as the number of the seer's own step at which it was;
one that fell between these steps is somebody else's doing, and is written as such. All other bytes are compared as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx

from libs.clock import now

ELSEWHEN = "<somebody else's moment>"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)")
_SECRET = re.compile(r"otr_live_[0-9a-f]{32}_[0-9A-Za-z]{49}")
_CURSOR = re.compile(r'(?<="next_cursor":")[^"]+(?=")|(?<=[?&]after=)[^&\s]+')
_LAST4 = re.compile(r'(?<="last4":")[^"]{4}(?=")')
_ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A campaign's is kept to ten seconds, so which of the seer's own steps it names depends on the machine's speed.
_HEARD = re.compile(r'(?<="last_webhook_at":")<step \d+>(?=","lag_seconds")')


class Eyes:
    """`with_limits`: also how many requests may follow, which others of one's own organization have a share in."""

    def __init__(self, *, with_limits: bool = True) -> None:
        self._with_limits = with_limits
        self._began = now()
        self._steps: list[tuple[datetime, datetime]] = []
        self.seen: list[str] = []

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """The seer, or what follows from it, is at work; nothing is looked at."""
        start = now()
        yield
        self._steps.append((start, now()))

    async def look(self, label: str, asked: Awaitable[httpx.Response]) -> httpx.Response:
        """Ask, and keep what comes back: all of it."""
        async with self.step():
            response = await asked
        heads = [f"{name}: {value}" for name, value in sorted(response.headers.multi_items()) if self._keeps(name)]
        self.seen.append("\n".join([f"> {label}", str(response.status_code), *heads, "", response.text]))
        return response

    def _keeps(self, name: str) -> bool:
        # A length follows from the text; what is left of a minute is the clock's alone.
        if name in ("content-length", "x-ratelimit-reset", "ratelimit"):
            return False
        return self._with_limits or "ratelimit" not in name

    def ids(self) -> set[str]:
        """Every id in what was seen, bare."""
        return {found for one in self.seen for found in ids_in(one)}

    def impersonal(self) -> list[str]:
        """What was seen, comparable with another run."""
        numbers: dict[str, int] = {}

        def number(found: re.Match[str]) -> str:
            return f"<{numbers.setdefault(found[0].replace('-', ''), len(numbers))}>"

        plain = []
        for one in self.seen:
            text = _HEARD.sub("<a step of one's own>", _TIME.sub(self._moment, one))
            for pattern in (_SECRET, _CURSOR):
                text = pattern.sub(number, text)
            plain.append(_ID.sub(number, _LAST4.sub("<last4>", text)))
        return plain

    def _moment(self, found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]).astimezone(UTC)
        if at < self._began or at > self._steps[-1][1]:
            return found[0]  # a provider's, or written in the story
        place = bisect_right(self._steps, (at, datetime.max.replace(tzinfo=UTC))) - 1
        if place < 0 or at > self._steps[place][1]:
            return ELSEWHEN
        return f"<step {place}>"


def ids_in(text: str) -> set[str]:
    """Bare: without hyphens."""
    return {found.replace("-", "") for found in _ID.findall(text)}
