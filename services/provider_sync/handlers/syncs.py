"""Reading accounts: what is planned, what a page leaves, how a reading ends. Nothing here touches the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from libs.clock import now
from libs.database.engine import TenantSession
from libs.ids import entity_id, public_id
from libs.messaging.standing import OrganizationSuspended
from libs.messaging.work import UnitOfWork
from libs.providers.feeds import Feed, FeedCampaigns, FeedPage
from libs.providers.sightings import Direction, MessageSighting, Reading, Source
from services.provider_sync.domain import syncs
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Superseded
from services.provider_sync.domain.kinds import CONVERSATION
from services.provider_sync.domain.statements import Told
from services.provider_sync.domain.syncs import PREFIX, Cursor, Run
from services.provider_sync.handlers.effects import tell
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.outcomes import OLDER_THAN_ALL
from services.provider_sync.repository.messages import HeldMessages
from services.provider_sync.repository.operations import OperationRepository
from services.provider_sync.repository.syncs import SyncRepository


async def keep_plan(
    run: Run, account: Account, feeds: Sequence[Feed], told: FeedCampaigns, work: UnitOfWork, *,
    full_every: timedelta, lease_seconds: float,
) -> None:  # fmt: skip
    """Keep the campaigns and what is to be read of them. Publishes CampaignRecordedV1 for what is new.

    Raises:
        Superseded, OrganizationSuspended: nothing may be kept.
    """
    syncs_ = await _held(run, work, lease_seconds)
    wanted = [one for one in told.campaigns if run.campaign_external_id in (None, one.sighting.external_id)]
    reading = Reading(event_type="feed.campaigns", campaigns=tuple(one.sighting for one in wanted))
    changed = await record([Told(account, reading, Source.PULL, None)], work, only_news=True)
    planned = syncs.plan(
        feeds, wanted, await syncs_.cursors(account.id), as_of=told.as_of, is_full=run.is_full, full_every=full_every
    )
    await syncs_.plan(run, told.as_of, planned)
    await syncs_.came_forward(run, rows=len(wanted), changed=changed, feeds=0)
    await _follow(run, work, "running")


async def keep_page(
    run: Run, account: Account, cursor: Cursor, page: FeedPage, work: UnitOfWork, *, lease_seconds: float
) -> int:
    """Keep a page and where the next one begins, in one transaction; answers how many entities changed.

    Publishes `*.recorded` for what is new.

    Raises:
        Superseded, OrganizationSuspended: nothing may be kept.
    """
    runs = await _held(run, work, lease_seconds)
    reading = await _without_echoes(page.reading, account, work.session)
    told = [Told(account, reading, Source.PULL, None)]
    inferred = await _answers_to_campaigns(reading, account, work.session)
    if inferred:
        told.append(Told(account, Reading(event_type="feed.answers", messages=inferred), Source.INFERRED, None))
    changed = await record(told, work, only_news=True)
    is_over = page.after is None
    if page.after is None:
        until = cursor.until or now()
        mark = syncs.bookmark(until, cursor.whole_until, page.whole_until)
        await runs.close(run, cursor, mark, is_whole=mark == until)
    else:
        whole_until = min([at for at in (cursor.whole_until, page.whole_until) if at is not None], default=None)
        await runs.move(run, cursor, after=page.after, whole_until=whole_until)
    await runs.came_forward(run, rows=page.rows, changed=changed, feeds=int(is_over))
    return changed


async def begin_anew(run: Run, cursor: Cursor, work: UnitOfWork, *, lease_seconds: float) -> None:
    """The list moved while it was read: what was read stays, and it is read again from its first page."""
    runs = await _held(run, work, lease_seconds)
    await runs.restart(run, cursor)
    await runs.came_forward(run, rows=0, changed=0, feeds=0, restarts=1)


async def pass_over(run: Run, cursor: Cursor, error: str | None, work: UnitOfWork, *, lease_seconds: float) -> None:
    """A list that cannot be read does not keep others from being read. Without an error: its campaign is gone."""
    runs = await _held(run, work, lease_seconds)
    if error is None:
        await runs.close(run, cursor, cursor.until or now(), is_whole=False)
    else:
        await runs.skip(run, cursor, error)
    await runs.came_forward(run, rows=0, changed=0, feeds=1)


async def end(run: Run, work: UnitOfWork, *, error_code: str | None = None, error: str | None = None) -> bool:
    """The reading is over; False when it is in other hands. Publishes OperationChangedV1 when somebody asked for it."""
    runs = SyncRepository(work.session)
    if error is None and (unread := await runs.first_error(run)) is not None:
        error_code, error = "lists_not_read", f"{unread[0]} lists could not be read; the first: {unread[1]}"
    row = await runs.end(run, error_code=error_code, error=error)
    if row is None:
        return False
    await _follow(run, work, "succeeded" if error is None else "failed", error_code=error_code, error=error)
    return True


async def _held(run: Run, work: UnitOfWork, lease_seconds: float) -> SyncRepository:
    if work.session.is_suspended:
        raise OrganizationSuspended
    runs = SyncRepository(work.session)
    if not await runs.hold(run, lease_seconds):
        raise Superseded
    return runs


async def _follow(
    run: Run, work: UnitOfWork, state: str, *, error_code: str | None = None, error: str | None = None
) -> None:
    """Bring the operation up to the run, if somebody asked for it."""
    if run.operation_id is None:
        return
    row = await OperationRepository(work.session).follow_run(
        run.operation_id, run.id, public_id(PREFIX, run.id), state=state, error_code=error_code, error=error
    )
    if row is not None:
        tell(row, work)


async def _answers_to_campaigns(
    reading: Reading, account: Account, session: TenantSession
) -> tuple[MessageSighting, ...]:
    """Whose answers these are that name no campaign: of the one that had written in the conversation before, if it is one.

    What we wrote is left alone: a person may have, and that is no campaign's. Anything that is ever told wins.
    """
    lost = [
        (one, entity_id(account.id, CONVERSATION.name, one.conversation_key))
        for one in reading.messages
        if one.campaign_external_id is None and one.direction is Direction.INBOUND and one.occurred_at is not None
    ]
    found = await HeldMessages(session).campaigns_of_threads({thread for _, thread in lost}) if lost else {}
    return tuple(
        MessageSighting(
            key=one.key,
            conversation_key=one.conversation_key,
            lead_key=one.lead_key,
            direction=one.direction,
            seen_at=OLDER_THAN_ALL,
            channel=one.channel,
            campaign_external_id=found[thread][0],
        )
        for one, thread in lost
        if thread in found and one.occurred_at is not None and one.occurred_at >= found[thread][1]
    )


async def _without_echoes(reading: Reading, account: Account, session: TenantSession) -> Reading:
    """Without mails "by hand" that are mails of the sequence: an inbox that syncs all of a mailbox holds those once more,
    under an id of its own. The Message-ID tells."""
    doubtful = [one for one in reading.messages if one.is_manual and one.internet_message_id is not None]
    if not doubtful:
        return reading
    own = {one.internet_message_id for one in reading.messages if one.is_manual is False}
    own |= await HeldMessages(session).sent_by_sequences(
        {entity_id(account.id, CONVERSATION.name, one.conversation_key) for one in doubtful},
        {one.internet_message_id or "" for one in doubtful},
    )
    echoes = {one.key for one in doubtful if one.internet_message_id in own}
    return replace(reading, messages=tuple(one for one in reading.messages if one.key not in echoes))
