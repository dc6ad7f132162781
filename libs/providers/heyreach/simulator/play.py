"""Plays outreach on LinkedIn: who is looked at, asked, accepts, is written to, answers. One seed, one story.

The shares are higher than life, so that a few hundred webhooks hold enough of every kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.journal import Happened, Journal, Note
from libs.providers.heyreach.simulator.model import (
    Account,
    Campaign,
    Enrolment,
    Lead,
    Said,
    Sender,
    Thread,
    new_lead,
    new_thread,
)
from libs.providers.heyreach.simulator.payloads import Payload, Payloads

PLAYED_DAYS = 21
VIEWED_SHARE = 0.6
FOLLOWED_SHARE = 0.15
LIKED_SHARE = 0.2
INMAIL_SHARE = 0.15  # open profiles, who need no connection
ACCEPTED_SHARE = 0.5
REPLIED_SHARE = 0.25  # of each message
REPLIED_AGAIN_SHARE = 0.5
BY_HAND_SHARE = 0.5  # of the times between two replies
AUTO_TAGGED_SHARE = 0.5  # of those who replied
TAGGED_SHARE = 0.3
SECOND_CAMPAIGN_SHARE = 0.1  # of leads: somebody with whom the sender has a thread already

_REPLIES = (
    "Sounds useful,\nsend times?",
    "Not now, thanks.",
    "Who else works with you?",
    "Tuesday & Friday suit me",
    "",
)
_AUTO_TAGS = (
    events.LEAD_AUTO_TAGGED_INTERESTED,
    events.LEAD_AUTO_TAGGED_NOT_INTERESTED,
    events.LEAD_AUTO_TAGGED_GENERIC,
)
_QUIET = timedelta(hours=1)  # before now nothing happens any more, so that no envelope is later than now


@dataclass(frozen=True, slots=True)
class Occurrence:
    at: datetime
    event_type: str
    payload: Payload
    message_keys: frozenset[str] = frozenset()
    notes: tuple[Note, ...] = ()


class Player:
    def __init__(
        self, rng: random.Random, account: Account, journal: Journal, payloads: Payloads, *, now: datetime
    ) -> None:
        self._rng = rng
        self._account = account
        self._journal = journal
        self._payloads = payloads
        self._now = now
        self._running = [campaign for campaign in account.campaigns if len(campaign.history) > 1]
        self._frame = self._what_no_lead_does()
        self._turn = 0

    def play(self, count: int) -> list[Occurrence]:
        """Play on for exactly `count` occurrences, in no order. Called again, it goes on with other leads."""
        taken: list[Occurrence] = []

        def take(occurrence: Occurrence) -> bool:
            taken.append(occurrence)
            self._journal.notes += [replace(note, at=occurrence.at) for note in occurrence.notes]
            return len(taken) >= count

        # At most a tenth, so that also a short play is about leads.
        for occurrence in self._frame:
            take(occurrence)
            if len(taken) >= count // 10:
                break
        while len(taken) < count:
            campaign = self._running[self._turn % len(self._running)]
            self._turn += 1
            # Everything is done as it is told, so a story that is broken off is just a shorter one.
            for occurrence in self._story(campaign):
                if take(occurrence):
                    break
        return taken

    def _what_no_lead_does(self) -> Iterator[Occurrence]:
        for campaign in self._running:
            for at, status in campaign.history:
                if status == "FINISHED":
                    payload = self._payloads.completed(campaign, at)
                    note = Note(Happened.CAMPAIGN_COMPLETED, campaign.external_id)
                    yield Occurrence(at, events.CAMPAIGN_COMPLETED, payload, notes=(note,))
            sender = self._rng.choice(campaign.senders)
            thread = new_thread(self._rng, self._account, new_lead(self._rng, self._account), sender, is_inmail=False)
            # To none of our campaigns, maybe by somebody whom we have never written to.
            said = self._say(thread, self._start(), is_reply=True, text="Are you at the harbour fair?")
            note = Note(Happened.UNTRACKED_REPLY, lead_key=thread.lead.key, message_key=thread.key(said))
            yield self._told(events.EVERY_MESSAGE_REPLY_RECEIVED, None, thread, said, note)

    def _story(self, campaign: Campaign) -> Iterator[Occurrence]:
        rng, at = self._rng, self._start()
        sender = rng.choice(campaign.senders)
        known = [
            thread
            for thread in self._account.threads
            if thread.sender is sender and thread.campaign_id not in (None, campaign.id) and thread.said[-1].at < at
        ]
        if known and rng.random() < SECOND_CAMPAIGN_SHARE:
            thread = rng.choice(known)
            campaign.enrol(self._account, thread.lead, sender, at).connection_status = "ConnectionAccepted"
            yield from self._sequence(campaign, thread, at)
            return
        lead = new_lead(rng, self._account)
        campaign.enrol(self._account, lead, sender, at)
        if rng.random() < VIEWED_SHARE:
            yield self._gesture(events.VIEWED_PROFILE, Happened.PROFILE_VIEWED, campaign, sender, lead, at)
        if rng.random() < FOLLOWED_SHARE:
            at = self._after(at, 60, 7200)
            yield self._gesture(events.FOLLOW_SENT, Happened.FOLLOWED, campaign, sender, lead, at)
        while rng.random() < LIKED_SHARE:
            at = self._after(at, 600, 7200)
            yield self._gesture(events.LIKED_POST, Happened.LIKED, campaign, sender, lead, at)
        at = self._after(at, 10_800, 90_000)  # a step waits for three hours at least
        is_inmail = rng.random() < INMAIL_SHARE
        if not is_inmail:
            if at >= self._now - _QUIET:
                return
            yield self._connection(events.CONNECTION_REQUEST_SENT, campaign, sender, lead, at)
            at = self._after(at, 600, 400_000)
            if rng.random() >= ACCEPTED_SHARE or at >= self._now - _QUIET:
                return
            yield self._connection(events.CONNECTION_REQUEST_ACCEPTED, campaign, sender, lead, at)
        if at < self._now - _QUIET:
            yield from self._sequence(campaign, (lead, sender, is_inmail), at)

    def _sequence(
        self, campaign: Campaign, whom: Thread | tuple[Lead, Sender, bool], at: datetime
    ) -> Iterator[Occurrence]:
        rng = self._rng
        thread = whom if isinstance(whom, Thread) else None
        for text in campaign.texts:
            at = self._after(at, 10_800, 250_000)
            if at >= self._now - _QUIET:
                return
            if thread is None:  # made with its first message: before, there is nothing to list
                assert not isinstance(whom, Thread)
                lead, sender, is_inmail = whom
                thread = new_thread(rng, self._account, lead, sender, is_inmail=is_inmail)
            thread.campaign_id = campaign.id
            enrolment = self._acted(campaign, thread.lead, at)
            enrolment.message_status, enrolment.thread = "MessageSent", thread
            said = self._say(thread, at, is_reply=False, text=text.format(first_name=thread.lead.first_name))
            note = Note(Happened.SENT, campaign.external_id, thread.lead.key, thread.key(said))
            event_type = events.INMAIL_SENT if thread.is_inmail else events.MESSAGE_SENT
            yield self._told(event_type, campaign, thread, said, note)
            at = self._after(said.at, 300, 200_000)
            if rng.random() < REPLIED_SHARE and at < self._now - _QUIET:
                yield from self._converse(campaign, thread, at)
                return
            if thread.is_inmail:
                break
        if thread is not None:
            self._acted(campaign, thread.lead, thread.said[-1].at).campaign_status = "Finished"

    def _converse(self, campaign: Campaign, thread: Thread, at: datetime) -> Iterator[Occurrence]:
        rng, is_first = self._rng, True
        by_hand: list[Note] = []
        while at < self._now - _QUIET:
            said = self._say(thread, at, is_reply=True, text=rng.choice(_REPLIES))
            enrolment = self._acted(campaign, thread.lead, said.at)
            enrolment.campaign_status, enrolment.message_status = "Finished", "MessageReply"
            note = Note(Happened.REPLIED, campaign.external_id, thread.lead.key, thread.key(said))
            yield self._told(events.EVERY_MESSAGE_REPLY_RECEIVED, campaign, thread, said, note, *by_hand)
            if is_first:  # only the first reply is told by this type
                first = events.INMAIL_REPLY_RECEIVED if thread.is_inmail else events.MESSAGE_REPLY_RECEIVED
                yield self._told(first, campaign, thread, said)
            is_first, by_hand = False, []
            if rng.random() >= REPLIED_AGAIN_SHARE:
                break
            at = self._after(at, 1800, 90_000)
            if rng.random() < BY_HAND_SHARE and at < self._now - _QUIET:
                text = f"Gladly, {thread.lead.first_name}."
                answer = self._say(thread, at - timedelta(minutes=20), is_reply=False, text=text)
                by_hand = [Note(Happened.SENT_BY_HAND, lead_key=thread.lead.key, message_key=thread.key(answer))]
        last = thread.said[-1].at
        if rng.random() < AUTO_TAGGED_SHARE:
            at = self._after(last, 5, 120)
            yield self._tagged(rng.choice(_AUTO_TAGS), thread, at)
            last = at
        if rng.random() < TAGGED_SHARE:
            at = self._after(last, 60, 3000)
            thread.lead.tags[:] = rng.choice((["Interested"], ["Later", "Port"], []))
            yield self._tagged(events.LEAD_TAG_UPDATED, thread, at)

    def _gesture(
        self, event_type: str, what: Happened, campaign: Campaign, sender: Sender, lead: Lead, at: datetime
    ) -> Occurrence:
        payload = self._payloads.gesture(event_type, campaign, sender, lead, at)
        return Occurrence(at, event_type, payload, notes=(Note(what, campaign.external_id, lead.key),))

    def _connection(self, event_type: str, campaign: Campaign, sender: Sender, lead: Lead, at: datetime) -> Occurrence:
        is_request = event_type == events.CONNECTION_REQUEST_SENT
        what = Happened.CONNECTION_REQUESTED if is_request else Happened.CONNECTION_ACCEPTED
        status = "ConnectionSent" if is_request else "ConnectionAccepted"
        self._acted(campaign, lead, at).connection_status = status
        payload = self._payloads.connection(event_type, campaign, sender, lead, at)
        return Occurrence(at, event_type, payload, notes=(Note(what, campaign.external_id, lead.key),))

    def _acted(self, campaign: Campaign, lead: Lead, at: datetime) -> Enrolment:
        enrolment = campaign.enrolments[lead.id]
        enrolment.campaign_status, enrolment.last_action_at = "InSequence", at
        return enrolment

    def _tagged(self, event_type: str, thread: Thread, at: datetime) -> Occurrence:
        note = Note(Happened.CATEGORIZED, lead_key=thread.lead.key)
        return Occurrence(at, event_type, self._payloads.tagged(event_type, thread, at), notes=(note,))

    def _told(self, event_type: str, campaign: Campaign | None, thread: Thread, said: Said, *notes: Note) -> Occurrence:
        payload = self._payloads.message(event_type, campaign, thread, said)
        slice_ = payload["recent_messages"]
        assert isinstance(slice_, list)
        upto = [one for one in thread.said if one.at <= said.at]
        told = frozenset(thread.key(one) for one in upto[-len(slice_) :])
        return Occurrence(said.at, event_type, payload, told, notes)

    def _say(self, thread: Thread, at: datetime, *, is_reply: bool, text: str) -> Said:
        said = Said(at.replace(microsecond=at.microsecond // 1000 * 1000), text, is_reply)
        thread.said.append(said)
        return said

    def _start(self) -> datetime:
        return self._now - timedelta(seconds=self._rng.randrange(50_000, PLAYED_DAYS * 86_400))

    def _after(self, at: datetime, least_seconds: int, most_seconds: int) -> datetime:
        seconds = self._rng.randrange(least_seconds, most_seconds)
        return at + timedelta(seconds=seconds, microseconds=self._rng.randrange(0, 1_000_000))
