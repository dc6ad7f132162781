"""The book of a simulated e-mail provider: what happened, posted or not. A correct receiver must arrive at it in the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Happened(StrEnum):
    SENT = "sent"
    SENT_BY_HAND = "sent_by_hand"  # written by a person in the inbox; no sequence's mail, hence not in SENT
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    BOUNCED_BY_SENDER = "bounced_by_sender"  # our own mailbox failed; noted beside BOUNCED
    UNSUBSCRIBED = "unsubscribed"
    CATEGORIZED = "categorized"
    MANUAL_STEP_REACHED = "manual_step_reached"
    STATUS_CHANGED = "status_changed"
    UNTRACKED_REPLY = "untracked_reply"


@dataclass(frozen=True, slots=True)
class Note:
    """`campaign` and `lead_key` are "" where the occurrence has none; `message_key` is the message it is (or is about)."""

    what: Happened
    campaign: str = ""
    step: int | None = None
    lead_key: str = ""
    message_key: str | None = None


@dataclass(slots=True)
class Totals:
    """`*_leads` count people, each once; the others count occurrences. A click is one link clicked once."""

    sent: int = 0
    sent_by_hand: int = 0
    opened: int = 0
    opened_leads: int = 0
    clicked: int = 0
    clicked_leads: int = 0
    replied: int = 0
    replied_leads: int = 0
    bounced: int = 0
    bounced_by_sender: int = 0
    unsubscribed: int = 0
    categorized: int = 0
    manual_step_reached: int = 0

    @classmethod
    def count(cls, notes: Iterable[Note]) -> Totals:
        totals = cls()
        leads: dict[Happened, set[str]] = {Happened.OPENED: set(), Happened.CLICKED: set(), Happened.REPLIED: set()}
        for note in notes:
            if hasattr(totals, note.what):
                setattr(totals, note.what, getattr(totals, note.what) + 1)
            if note.what in leads:
                leads[note.what].add(note.lead_key)
        totals.opened_leads = len(leads[Happened.OPENED])
        totals.clicked_leads = len(leads[Happened.CLICKED])
        totals.replied_leads = len(leads[Happened.REPLIED])
        return totals


@dataclass(frozen=True, slots=True)
class Expected:
    """Totals of all campaigns together, by campaign (external id) and by (campaign, step).

    The step is that of the e-mail concerned; None where the provider does not tell it (an unsubscription from the inbox).
    Untracked replies belong to no campaign and are in none of these.
    """

    overall: Totals
    by_campaign: dict[str, Totals]
    by_step: dict[tuple[str, int | None], Totals]
    untracked_replies: int


@dataclass(slots=True)
class Journal:
    notes: list[Note] = field(default_factory=list)

    def expected(self) -> Expected:
        tracked = [note for note in self.notes if note.campaign]
        campaigns: dict[str, list[Note]] = {}
        steps: dict[tuple[str, int | None], list[Note]] = {}
        for note in tracked:
            campaigns.setdefault(note.campaign, []).append(note)
            if note.what is not Happened.STATUS_CHANGED:
                steps.setdefault((note.campaign, note.step), []).append(note)
        return Expected(
            overall=Totals.count(tracked),
            by_campaign={campaign: Totals.count(notes) for campaign, notes in campaigns.items()},
            by_step={key: Totals.count(notes) for key, notes in steps.items()},
            untracked_replies=sum(note.what is Happened.UNTRACKED_REPLY for note in self.notes),
        )

    def message_keys(self, what: Happened) -> set[str]:
        """The natural keys of all messages SENT, SENT_BY_HAND, REPLIED or UNTRACKED_REPLY."""
        return {note.message_key for note in self.notes if note.what is what and note.message_key is not None}
