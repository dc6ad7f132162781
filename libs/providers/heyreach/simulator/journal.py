"""The simulator's book of what happened, posted or not: what a correct receiver must arrive at in the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Happened(StrEnum):
    SENT = "sent"
    SENT_BY_HAND = "sent_by_hand"  # by a person in the inbox: no webhook tells it, another one's slice may
    REPLIED = "replied"
    UNTRACKED_REPLY = "untracked_reply"  # to none of our campaigns
    CONNECTION_REQUESTED = "connection_requested"
    CONNECTION_ACCEPTED = "connection_accepted"
    PROFILE_VIEWED = "profile_viewed"
    FOLLOWED = "followed"
    LIKED = "liked"
    CATEGORIZED = "categorized"  # a lead's, so in no campaign
    CAMPAIGN_COMPLETED = "campaign_completed"


@dataclass(frozen=True, slots=True)
class Note:
    """`campaign` is "" where the occurrence has none; `message_key` is the message that it is, `at` when it happened."""

    what: Happened
    campaign: str = ""
    lead_key: str = ""
    message_key: str | None = None
    at: datetime | None = field(default=None, compare=False)


@dataclass(slots=True)
class Totals:
    """`*_leads` count people, each once; the others count occurrences.

    The last six are always 0: LinkedIn has no such thing. They let one reader read the totals of all providers.
    """

    sent: int = 0
    replied: int = 0
    replied_leads: int = 0
    connection_requested: int = 0
    connection_accepted: int = 0
    profile_viewed: int = 0
    followed: int = 0
    liked: int = 0
    opened: int = 0
    opened_leads: int = 0
    clicked: int = 0
    clicked_leads: int = 0
    bounced: int = 0
    unsubscribed: int = 0

    @classmethod
    def count(cls, notes: Iterable[Note]) -> Totals:
        totals = cls()
        replied: set[str] = set()
        for note in notes:
            if hasattr(totals, note.what):
                setattr(totals, note.what, getattr(totals, note.what) + 1)
            if note.what is Happened.REPLIED:
                replied.add(note.lead_key)
        totals.replied_leads = len(replied)
        return totals


@dataclass(frozen=True, slots=True)
class Expected:
    """Totals of all campaigns together, by campaign (external id) and by (campaign, step); HeyReach never tells a step.

    What belongs to no campaign is in none of these: untracked replies, tags, what people wrote by hand.
    """

    overall: Totals
    by_campaign: dict[str, Totals]
    by_step: dict[tuple[str, int | None], Totals]
    untracked_replies: int
    categorized: int


@dataclass(slots=True)
class Journal:
    notes: list[Note] = field(default_factory=list)

    def expected(self) -> Expected:
        tracked = [note for note in self.notes if note.campaign]
        campaigns: dict[str, list[Note]] = {}
        for note in tracked:
            campaigns.setdefault(note.campaign, []).append(note)
        by_campaign = {campaign: Totals.count(notes) for campaign, notes in campaigns.items()}
        return Expected(
            overall=Totals.count(tracked),
            by_campaign=by_campaign,
            by_step={(campaign, None): totals for campaign, totals in by_campaign.items()},
            untracked_replies=self.count(Happened.UNTRACKED_REPLY),
            categorized=self.count(Happened.CATEGORIZED),
        )

    def count(self, what: Happened) -> int:
        return sum(note.what is what for note in self.notes)

    def message_keys(self, what: Happened) -> set[str]:
        """The natural keys of all messages SENT, SENT_BY_HAND, REPLIED or UNTRACKED_REPLY."""
        return {note.message_key for note in self.notes if note.what is what and note.message_key is not None}
