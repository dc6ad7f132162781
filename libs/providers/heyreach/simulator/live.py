"""What happens while somebody uses the API: sequences go on as time passes, leads react, and webhooks tell of it.

A step is taken when it is due, at any hour: schedules and daily limits are not played.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from libs.providers.fields import JsonObject
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator import play
from libs.providers.heyreach.simulator.journal import Happened, Journal, Note
from libs.providers.heyreach.simulator.model import Account, Campaign, Enrolment, Lead, Said, Sender, Thread, new_thread
from libs.providers.heyreach.simulator.payloads import Payload, Payloads
from libs.providers.simulation import SimulatedClock

ANSWERS_GO_OUT_AFTER = timedelta(seconds=60)  # what is queued is not sent at once
RESTS_AGAIN_AFTER = timedelta(seconds=1)  # a campaign without leads that was asked to go on
_GESTURES = {
    "VIEW_PROFILE": (events.VIEWED_PROFILE, Happened.PROFILE_VIEWED),
    "FOLLOW": (events.FOLLOW_SENT, Happened.FOLLOWED),
    "LIKE_POST": (events.LIKED_POST, Happened.LIKED),
}

# The campaign (None: no campaign's), the type, the body, the keys of the messages that it tells.
Tell = Callable[[Campaign | None, str, Payload, frozenset[str]], None]


class Live:
    """`reactions` multiplies the shares of those who accept and answer; 0: nobody does by themselves. `status_lag` is how
    long a status stays as it was after it was set."""

    def __init__(
        self,
        rng: random.Random,
        account: Account,
        journal: Journal,
        payloads: Payloads,
        clock: SimulatedClock,
        tell: Tell,
        *,
        reactions: float,
        status_lag: timedelta,
    ) -> None:
        self._rng = rng
        self._account = account
        self._journal = journal
        self._payloads = payloads
        self._clock = clock
        self._tell = tell
        self._reactions = reactions
        self._status_lag = status_lag
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    # Time

    def advance(self, by: timedelta) -> None:
        """Let everything happen that is due until then, in order of time."""
        until = self._clock.now + by
        while (following := self._next()) is not None and following[0] <= until:
            at, act = following
            self._clock.advance(max(at - self._clock.now, timedelta(0)))
            act()
        self._clock.advance(max(until - self._clock.now, timedelta(0)))

    def at(self, when: datetime, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._numbers), act))

    def _next(self) -> tuple[datetime, Callable[[], None]] | None:
        due = [
            (one.next_at, campaign, one)
            for campaign in self._account.campaigns
            if campaign.history[-1][1] == "IN_PROGRESS"
            for one in campaign.enrolments.values()
            if one.next_at is not None
        ]
        step = min(due, key=lambda entry: (entry[0], entry[2].id), default=None)
        if self._agenda and (step is None or self._agenda[0][0] <= step[0]):
            return self._agenda[0][0], lambda: heapq.heappop(self._agenda)[2]()
        if step is None:
            return None
        at, campaign, enrolment = step
        return at, lambda: self._take_step(campaign, enrolment)

    # Campaigns

    def set_status(self, campaign: Campaign, status: str) -> None:
        campaign.history.append((max(self._clock.now + self._status_lag, campaign.history[-1][0]), status))

    def resume(self, campaign: Campaign) -> None:
        self.set_status(campaign, "IN_PROGRESS")
        if not campaign.enrolments:
            campaign.history.append((campaign.history[-1][0] + RESTS_AGAIN_AFTER, "PAUSED"))

    def enrol(self, campaign: Campaign, lead: Lead, sender: Sender) -> Enrolment:
        made = campaign.enrol(self._account, lead, sender, self._clock.now)
        made.node, made.next_at = campaign.sequence, self._clock.now
        if campaign.sequence is None:
            made.next_at = None
        return made

    def end(self, campaign: Campaign, enrolment: Enrolment, status: str = "Finished") -> None:
        enrolment.campaign_status, enrolment.node, enrolment.next_at = status, None, None
        now = self._clock.now
        if campaign.history[-1][1] == "IN_PROGRESS" and all(one.is_over for one in campaign.enrolments.values()):
            campaign.history.append((now, "FINISHED"))
            self._note(Happened.CAMPAIGN_COMPLETED, campaign)
            self._tell(campaign, events.CAMPAIGN_COMPLETED, self._payloads.completed(campaign, now), frozenset())

    # Steps

    def _take_step(self, campaign: Campaign, enrolment: Enrolment) -> None:
        node, enrolment.next_at = enrolment.node or {}, None
        kind = node.get("nodeType")
        if enrolment.campaign_status == "Pending" and kind != "END":
            enrolment.campaign_status = "InSequence"
        enrolment.last_action_at = self._clock.now
        if kind in (None, "END"):
            self.end(campaign, enrolment)
        elif kind == "CONNECTION_REQUEST" and enrolment.connection_status != "ConnectionAccepted":
            self._ask(campaign, enrolment)
        elif kind in ("MESSAGE", "INMAIL"):
            self._write(campaign, enrolment, node, is_inmail=kind == "INMAIL")
            self._go_on(enrolment, node.get("unconditionalNode"))
        else:
            if kind in _GESTURES:
                event_type, what = _GESTURES[str(kind)]
                self._note(what, campaign, enrolment.lead)
                payload = self._payloads.gesture(
                    event_type, campaign, enrolment.sender, enrolment.lead, self._clock.now
                )
                self._tell(campaign, event_type, payload, frozenset())
            is_met = enrolment.connection_status == "ConnectionAccepted" and kind != "CHECK_IS_OPEN_PROFILE"
            branch = node.get("conditionalNode") if is_met else None
            self._go_on(enrolment, branch or node.get("unconditionalNode"))

    def _ask(self, campaign: Campaign, enrolment: Enrolment) -> None:
        enrolment.connection_status = "ConnectionSent"
        self._connection(events.CONNECTION_REQUEST_SENT, Happened.CONNECTION_REQUESTED, campaign, enrolment)
        if self._happens(play.ACCEPTED_SHARE):
            self._later(lambda: self.accepts(campaign, enrolment), 600, 400_000)

    def _write(self, campaign: Campaign, enrolment: Enrolment, node: JsonObject, *, is_inmail: bool) -> None:
        payload = node.get("payload")
        texts = payload.get("messages") if isinstance(payload, dict) else None
        text = self._rng.choice(texts) if isinstance(texts, list) and texts else ""
        words = str(text.get("message")) if isinstance(text, dict) else str(text)
        lead = enrolment.lead
        if enrolment.thread is None:
            known = (one for one in self._account.threads if one.lead is lead and one.sender is enrolment.sender)
            enrolment.thread = next(known, None) or new_thread(
                self._rng, self._account, lead, enrolment.sender, is_inmail=is_inmail
            )
        thread = enrolment.thread
        thread.campaign_id = campaign.id
        said = self._say(thread, words.replace("{firstName}", lead.first_name), is_reply=False)
        enrolment.message_status = "MessageSent"
        self._note(Happened.SENT, campaign, lead, thread.key(said))
        self._told(events.INMAIL_SENT if is_inmail else events.MESSAGE_SENT, campaign, thread, said)
        if self._happens(play.REPLIED_SHARE):
            self._later(lambda: self.replies(campaign, enrolment, "Sounds useful,\nsend times?"), 300, 200_000)

    def _go_on(self, enrolment: Enrolment, node: object) -> None:
        enrolment.node = node if isinstance(node, dict) else None
        delay = (enrolment.node or {}).get("actionDelay")
        unit = 24 if (enrolment.node or {}).get("actionDelayUnit") == "DAY" else 1
        enrolment.next_at = self._clock.now + timedelta(hours=unit * (delay if isinstance(delay, int) else 0))

    # What people do

    def accepts(self, campaign: Campaign, enrolment: Enrolment) -> None:
        if enrolment.connection_status != "ConnectionSent":
            return
        enrolment.connection_status, enrolment.last_action_at = "ConnectionAccepted", self._clock.now
        self._connection(events.CONNECTION_REQUEST_ACCEPTED, Happened.CONNECTION_ACCEPTED, campaign, enrolment)
        if not enrolment.is_over:
            self._go_on(enrolment, (enrolment.node or {}).get("conditionalNode"))

    def replies(self, campaign: Campaign, enrolment: Enrolment, text: str) -> Said:
        """It ends the sequence for the lead; the first reply is told by two types."""
        thread = enrolment.thread
        assert thread is not None, "nobody has written to this lead yet"
        is_first = not any(said.is_reply for said in thread.said)
        said = self._say(thread, text, is_reply=True)
        enrolment.message_status, enrolment.last_action_at = "MessageReply", said.at
        self._note(Happened.REPLIED, campaign, enrolment.lead, thread.key(said))
        self._told(events.EVERY_MESSAGE_REPLY_RECEIVED, campaign, thread, said)
        if is_first:
            first = events.INMAIL_REPLY_RECEIVED if thread.is_inmail else events.MESSAGE_REPLY_RECEIVED
            self._told(first, campaign, thread, said)
        self.end(campaign, enrolment)
        return said

    def writes_by_themselves(self, thread: Thread, text: str) -> Said:
        """To none of our campaigns."""
        said = self._say(thread, text, is_reply=True)
        self._note(Happened.UNTRACKED_REPLY, None, thread.lead, thread.key(said))
        self._told(events.EVERY_MESSAGE_REPLY_RECEIVED, None, thread, said)
        return said

    def answer(self, thread: Thread, text: str) -> None:
        """By a person of ours, sent a little later. No webhook tells it."""

        def go() -> None:
            said = self._say(thread, text, is_reply=False)
            self._note(Happened.SENT_BY_HAND, None, thread.lead, thread.key(said))

        self.at(self._clock.now + ANSWERS_GO_OUT_AFTER, go)

    def tag(self, lead: Lead, tags: list[str]) -> None:
        """Told in the name of a sender who speaks with the lead, if one does."""
        lead.tags[:] = tags
        thread = next((thread for thread in self._account.threads if thread.lead is lead), None)
        if thread is None:
            return
        self._note(Happened.CATEGORIZED, None, lead)
        payload = self._payloads.tagged(events.LEAD_TAG_UPDATED, thread, self._clock.now)
        self._tell(None, events.LEAD_TAG_UPDATED, payload, frozenset())

    def _say(self, thread: Thread, text: str, *, is_reply: bool) -> Said:
        at = self._clock.now.replace(microsecond=self._clock.now.microsecond // 1000 * 1000)
        said = Said(at, text, is_reply)
        thread.said.append(said)
        thread.is_read = not is_reply
        return said

    def _connection(self, event_type: str, what: Happened, campaign: Campaign, enrolment: Enrolment) -> None:
        self._note(what, campaign, enrolment.lead)
        payload = self._payloads.connection(event_type, campaign, enrolment.sender, enrolment.lead, self._clock.now)
        self._tell(campaign, event_type, payload, frozenset())

    def _told(self, event_type: str, campaign: Campaign | None, thread: Thread, said: Said) -> None:
        payload = self._payloads.message(event_type, campaign, thread, said)
        slice_ = payload["recent_messages"]
        assert isinstance(slice_, list)
        keys = frozenset(thread.key(one) for one in thread.said[-len(slice_) :])
        self._tell(campaign, event_type, payload, keys)

    def _happens(self, share: float) -> bool:
        return self._rng.random() < share * self._reactions

    def _later(self, act: Callable[[], object], least_seconds: int, most_seconds: int) -> None:
        def do() -> None:
            act()

        self.at(self._clock.now + timedelta(seconds=self._rng.randrange(least_seconds, most_seconds)), do)

    def _note(
        self, what: Happened, campaign: Campaign | None, lead: Lead | None = None, key: str | None = None
    ) -> None:
        lead_key = lead.key if lead is not None else ""
        external_id = campaign.external_id if campaign is not None else ""
        self._journal.notes.append(Note(what, external_id, lead_key, key, self._clock.now))
