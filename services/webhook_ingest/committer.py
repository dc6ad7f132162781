"""One commit for all who wait: starts at once when nothing is in flight, otherwise the wait is the batch. No timer.

A flush is nobody's: a client that leaves takes only its own answer along. If a shared commit fails, the batch is halved
until the culprit stands alone; only it is told so. A database that is away is nobody's fault: all are told to come again.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from libs.crash import crash_point
from libs.database.engine import OrganizationErased, is_conflict
from libs.errors import DependencyDown, NotFound, PlatformError, TransientError
from libs.ids import OrgId
from libs.observability.logs import get_logger
from services.webhook_ingest.domain import Arrival

_CONFLICT_RETRIES = 4
_MAX_BATCH_BYTES = 8 * 1024 * 1024
# Longer than a healthy flush by far, shorter than providers wait for an answer.
_FLUSH_SECONDS = 15.0

log = get_logger()

# Keeps arrivals in one transaction; has returned only if it committed.
Commit = Callable[[Sequence[Arrival]], Awaitable[None]]


class Overloaded(TransientError):
    """More deliveries wait than may; nothing was kept."""

    code = "overloaded"


class NotKept(TransientError):
    """This one delivery cannot be stored, though others can; nothing was kept."""

    code = "not_kept"


class EndpointGone(NotFound):
    """The organization of this endpoint was erased; nothing was kept."""


class Committer:
    def __init__(self, commit: Commit, *, max_batch: int, max_pending: int, max_pending_bytes: int) -> None:
        self._commit = commit
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        # By org, in turns: whoever was served goes to the end.
        self._pending: OrderedDict[OrgId, deque[tuple[Arrival, asyncio.Future[None]]]] = OrderedDict()
        self._held: Counter[OrgId] = Counter()  # deliveries not yet answered
        self._held_bytes: Counter[OrgId] = Counter()
        self._all_bytes = 0
        self._all = 0
        self._flusher: asyncio.Task[None] | None = None
        self._closing = False
        self._away = False
        self._context = contextvars.copy_context()  # a flush serves many requests and belongs to the trace of none

    async def keep(self, arrival: Arrival) -> None:
        """Returns once `arrival` is committed.

        Raises:
            Overloaded: too much waits already, or the service is stopping.
            NotKept: the database refuses this one delivery.
            DependencyDown: the database is away. Whether it was kept may be unknown; a second post of it does no harm.
            EndpointGone: its organization was erased.
        """
        self._admit(arrival)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.setdefault(arrival.org_id, deque()).append((arrival, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all(), context=self._context)
        await future

    async def close(self) -> None:
        """Refuse what is new, finish what is here."""
        self._closing = True
        if self._flusher is not None:
            await asyncio.shield(self._flusher)

    def _admit(self, arrival: Arrival) -> None:
        size, org = len(arrival.body), arrival.org_id
        if (
            self._closing
            or self._all >= self._max_pending
            or self._all_bytes + size > self._max_pending_bytes
            # One org's flood must leave room for the others.
            or self._held[org] >= self._max_pending // 2
            or self._held_bytes[org] + size > self._max_pending_bytes // 2
        ):
            raise Overloaded("more deliveries wait to be stored than may")
        self._all += 1
        self._all_bytes += size
        self._held[org] += 1
        self._held_bytes[org] += size

    def _answer(self, batch: Sequence[tuple[Arrival, asyncio.Future[None]]], error: PlatformError | None) -> None:
        for arrival, future in batch:
            size, org = len(arrival.body), arrival.org_id
            self._all -= 1
            self._all_bytes -= size
            self._held[org] -= 1
            self._held_bytes[org] -= size
            if not self._held[org]:
                del self._held[org], self._held_bytes[org]
            if future.done():  # its client has left
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(type(error)(str(error)))  # one each: a raised error gathers its raiser's frames

    async def _flush_all(self) -> None:
        batch: list[tuple[Arrival, asyncio.Future[None]]] = []
        try:
            while self._pending:
                batch = self._next_batch()
                try:
                    await self._flush(batch)
                except Exception as error:  # a bug of ours: who waits is told, and who comes next is served
                    log.error("flush_failed", deliveries=len(batch), exc_info=error)
                    unanswered = [one for one in batch if not one[1].done()]
                    self._answer(unanswered, NotKept("whether the delivery was stored is not known"))
                batch = []
        except asyncio.CancelledError:
            unanswered = [one for one in batch if not one[1].done()]
            self._answer(
                [*unanswered, *chain.from_iterable(self._pending.values())], DependencyDown("the service was stopped")
            )
            self._pending.clear()
            raise
        finally:
            self._flusher = None

    def _next_batch(self) -> list[tuple[Arrival, asyncio.Future[None]]]:
        """One of each org in turn, so that a flood is waited for by nobody else."""
        batch: list[tuple[Arrival, asyncio.Future[None]]] = []
        size = 0
        while self._pending and len(batch) < self._max_batch:
            org_id, waiting = next(iter(self._pending.items()))
            size += len(waiting[0][0].body)
            if batch and size > _MAX_BATCH_BYTES:
                break
            batch.append(waiting.popleft())
            if waiting:
                self._pending.move_to_end(org_id)
            else:
                del self._pending[org_id]
        return batch

    async def _flush(self, batch: Sequence[tuple[Arrival, asyncio.Future[None]]]) -> None:
        try:
            await self._commit_patiently([arrival for arrival, _ in batch])
        except DependencyDown as error:
            self._note_away(error, len(batch))
            self._answer(batch, error)
        except OrganizationErased as error:
            gone = [one for one in batch if one[0].org_id == error.org_id]
            self._answer(gone, EndpointGone("there is no such endpoint"))
            if rest := [one for one in batch if one[0].org_id != error.org_id]:
                await self._flush(rest)
        except Exception as error:
            if len(batch) > 1:
                log.warning("flush_split", deliveries=len(batch), error=type(error).__name__)
                middle = len(batch) // 2
                await self._flush(batch[:middle])
                await self._flush(batch[middle:])
                return
            arrival = batch[0][0]
            log.error("delivery_not_kept", delivery_id=str(arrival.id), org_id=str(arrival.org_id), exc_info=error)
            self._answer(batch, NotKept("the delivery could not be stored"))
        else:
            crash_point("ingest.committed")
            self._note_back()
            self._answer(batch, None)

    async def _commit_patiently(self, arrivals: Sequence[Arrival]) -> None:
        for attempt in range(_CONFLICT_RETRIES + 1):
            try:
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._commit(arrivals)
                return
            except TimeoutError:
                raise DependencyDown("the database does not answer") from None
            except Exception as error:
                if not is_conflict(error) or attempt == _CONFLICT_RETRIES:
                    raise

    def _note_away(self, error: DependencyDown, deliveries: int) -> None:
        if not self._away:  # once, not for each of thousands
            log.error("door_paused", deliveries=deliveries, reason=str(error))
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            log.info("door_resumed")
        self._away = False
