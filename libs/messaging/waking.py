"""Waiting for a call, but not for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def woken_or_after(woken: asyncio.Event, seconds: float) -> None:
    """Until the event is set or so many seconds have passed.

    Not asyncio.wait_for: in Python 3.11 it forgets that its task was cancelled when the event is set in the same moment, and
    a loop that waits so never ends.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
