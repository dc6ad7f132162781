"""The due taker: runs a consumer's retries, replays and (in one process) all its deliveries from its inbox."""

from __future__ import annotations

import asyncio
import random

from libs.errors import DependencyDown
from libs.messaging.processor import Processor
from libs.messaging.waking import woken_or_after
from libs.observability.logs import get_logger

POLL_SECONDS = 1.0
_BACKOFF_SECONDS = (0.2, 5.0)

log = get_logger()


async def run_due(processor: Processor) -> None:
    """Until cancelled. While the database is away nothing is taken and nothing is charged."""
    wait, away = _BACKOFF_SECONDS[0], False
    while True:
        processor.woken.clear()
        try:
            taken = await processor.run_due()
            if away:
                log.info("consumer_resumed", queue=processor.queue)
            wait, away = _BACKOFF_SECONDS[0], False
        except Exception as error:
            if not isinstance(error, DependencyDown):
                log.error("due_taker_failed", queue=processor.queue, exc_info=error)
            elif not away:
                log.warning("consumer_paused", queue=processor.queue, reason=str(error)[:200])
            away = True
            await asyncio.sleep(random.uniform(0, wait))
            wait = min(wait * 2, _BACKOFF_SECONDS[1])
            continue
        if not taken:
            await woken_or_after(processor.woken, POLL_SECONDS)
