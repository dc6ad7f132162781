"""Reading all that an account holds: which lists are to be read from where on, and how such a reading goes on and ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from libs.ids import AccountId
from libs.providers.feeds import Feed, FeedCampaign

PREFIX = "syn"

HealthStatus = Literal["healthy", "never_synced", "webhook_only", "stopped", "failing", "lagging", "incomplete"]

MOST_PAGES = (
    10_000  # of one list in one reading: two million rows of the shortest page; ends a provider that has no end
)
MOST_RESTARTS = 5  # of one list in one reading: one that moves each time is left for later
MOST_ATTEMPTS = 8  # takes without a page kept: whoever takes it is killed by it, or the provider is away for long
CARRIED_ON = timedelta(days=1)  # how old a reading that broke off may be, for the next one to go on with it


@dataclass(frozen=True, slots=True)
class Run:
    """A reading in a worker's hands: its `takes`-th taking, the `attempts`-th since it last came forward."""

    id: UUID
    account_id: AccountId
    campaign_external_id: str | None
    is_full: bool
    operation_id: UUID | None
    takes: int
    attempts: int
    is_planned: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one list was read, and where its reading stands (`is_open`). Account-wide lists have campaign ""."""

    feed: str
    campaign: str
    is_open: bool
    is_full: bool
    since: datetime | None
    until: datetime | None
    whole_until: datetime | None
    after: str | None
    pages: int
    restarts: int
    bookmark: datetime | None
    mark: str | None
    full_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        return self.is_open and self.after is not None and self.until is not None


@dataclass(frozen=True, slots=True)
class Planned:
    """A list that is to be read; `after` and what comes with it are those of a reading that broke off."""

    feed: str
    campaign: str
    is_full: bool
    since: datetime | None
    until: datetime
    mark: str | None
    whole_until: datetime | None = None
    after: str | None = None
    pages: int = 0


def plan(
    feeds: Sequence[Feed],
    campaigns: Iterable[FeedCampaign],
    cursors: Mapping[tuple[str, str], Cursor],
    *,
    as_of: datetime,
    is_full: bool,
    full_every: timedelta,
) -> list[Planned]:
    """What to read, in order: the campaigns' lists, then the account's.

    From the bookmark on, with the feed's overlap; all of it when there is none, or when all was read too long ago: what a
    filter by time cannot find must be found some day. A list whose mark is as it was has nothing new.
    """
    found: list[Planned] = []

    def consider(feed: Feed, campaign: str, mark: str | None) -> None:
        known = cursors.get((feed.name, campaign))
        if known is not None and _goes_on(known, as_of, is_full=is_full):
            found.append(
                Planned(feed.name, campaign, known.is_full, known.since, known.until or as_of, mark, known.whole_until,
                        known.after, known.pages)
            )  # fmt: skip
            return
        bookmark = None if known is None or known.full_at is None else known.bookmark
        whole = is_full or bookmark is None or known is None or (known.full_at or as_of) + full_every <= as_of
        if not whole and mark is not None and known is not None and known.mark == mark:
            return
        since = None if whole or bookmark is None else min(bookmark, as_of) - feed.overlap
        found.append(Planned(feed.name, campaign, whole, since, as_of, mark))

    for campaign in campaigns:
        for feed in feeds:
            if feed.of_campaign:
                consider(feed, campaign.sighting.external_id, campaign.marks.get(feed.name))
    for feed in feeds:
        if not feed.of_campaign:
            consider(feed, "", None)
    return found


def _goes_on(known: Cursor, as_of: datetime, *, is_full: bool) -> bool:
    if not known.is_under_way or known.until is None:
        return False
    return as_of - known.until <= CARRIED_ON and (known.is_full or not is_full)


def bookmark(until: datetime, *whole_until: datetime | None) -> datetime:
    """Where the next reading begins: never later than where this one began (the signpost), and not behind what the
    provider has not told whole yet."""
    return min([until, *(at for at in whole_until if at is not None)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of how far a campaign is known. `is_read`: its account is read at all."""

    is_read: bool
    account_status: str
    synced_at: datetime | None
    error: str | None
    completeness: float | None


LEAST_COMPLETE = 0.95  # webhooks that miss more than one in twenty are not to be relied on
LATE_READINGS = 3  # so many readings should have come since
ASKED_FOR = timedelta(days=1)  # how old a reading may be where none comes by itself


def health(known: Known, at: datetime, every: timedelta) -> HealthStatus:
    """The worst that is true. `every`: how often accounts are read by themselves; zero: only when asked."""
    if not known.is_read:
        return "webhook_only"
    if known.account_status != "active":
        return "stopped"
    if known.error is not None:
        return "failing"
    if known.synced_at is None:
        return "never_synced"
    if at - known.synced_at > (every * LATE_READINGS if every else ASKED_FOR):
        return "lagging"
    if known.completeness is not None and known.completeness < LEAST_COMPLETE:
        return "incomplete"
    return "healthy"
