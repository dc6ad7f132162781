"""The small interface behind which events travel: through RabbitMQ, or within one process. One suite runs against both."""

from __future__ import annotations

from typing import Protocol

from libs.database.engine import Database
from libs.messaging.processor import Processor


class Transport(Protocol):
    async def relay(self, database: Database, limit: int) -> int:
        """Hand up to `limit` outbox rows of `database` on; a row is deleted only once every listener's side has it.

        Answers how many rows were seen (0: nothing waits). Rows that nobody can take stay, marked, and are logged.

        Raises:
            DependencyDown: broker or database is away; what was not confirmed stays in the outbox.
        """
        ...

    async def serve(self, processor: Processor) -> None:
        """Deliver the processor's queue to it until cancelled; survives the broker's and the database's absence."""
        ...

    async def close(self) -> None: ...
