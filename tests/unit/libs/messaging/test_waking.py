from __future__ import annotations

import asyncio

from libs.messaging.waking import woken_or_after


async def test_who_is_cancelled_in_the_moment_of_the_call_ends() -> None:
    woken = asyncio.Event()

    async def loop() -> None:
        while True:
            await woken_or_after(woken, 3600)
            woken.clear()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    woken.set()
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    is_over = task.cancelled()
    task.cancel()
    assert is_over


async def test_a_call_or_the_time_ends_the_wait() -> None:
    woken = asyncio.Event()
    await woken_or_after(woken, 0)
    woken.set()
    await woken_or_after(woken, 3600)
