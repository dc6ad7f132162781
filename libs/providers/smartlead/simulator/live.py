"""What happens while somebody uses the API: campaigns send as time goes by, leads react, and webhooks tell of it.

Mail is sent when it is due, at any hour: a campaign's window and daily limit are kept and told, and not obeyed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from libs.providers.simulation import SimulatedClock
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator import play
from libs.providers.smartlead.simulator.casting import new_uuid
from libs.providers.smartlead.simulator.journal import Happened, Journal, Note
from libs.providers.smartlead.simulator.model import (
    ENDED,
    WAITING,
    Account,
    Campaign,
    Enrolment,
    Lead,
    Reply,
    Sent,
)
from libs.providers.smartlead.simulator.payloads import Payload, Payloads

ANSWERS_GO_OUT_AFTER = timedelta(seconds=60)  # what is "added to the queue" is not sent at once

# The campaign (None: no campaign's), the type, the body, the keys of the messages that it tells.
Tell = Callable[[Campaign | None, str, Payload, frozenset[str]], None]


class Live:
    """`reactions` multiplies the shares of those who open, click, answer, bounce and leave; 0: nobody does by themselves."""

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
    ) -> None:
        self._rng = rng
        self._account = account
        self._journal = journal
        self._payloads = payloads
        self._clock = clock
        self._tell = tell
        self._reactions = reactions
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
            if campaign.status_at(self._clock.now) == "ACTIVE"
            for one in campaign.enrolments
            if one.next_at is not None and one.status in WAITING
        ]
        mail = min(due, key=lambda entry: (entry[0], entry[2].map_id), default=None)
        if self._agenda and (mail is None or self._agenda[0][0] <= mail[0]):
            return self._agenda[0][0], self._act
        if mail is None:
            return None
        at, campaign, enrolment = mail
        return at, lambda: self.send_next(campaign, enrolment)

    def _act(self) -> None:
        _, _, act = heapq.heappop(self._agenda)
        act()

    # Campaigns

    def set_status(self, campaign: Campaign, status: str) -> None:
        now, previous = self._clock.now, campaign.status_at(self._clock.now)
        if previous == status:
            return
        campaign.history.append((now, status))
        self._note(Happened.STATUS_CHANGED, campaign)
        payload = self._payloads.status_changed(campaign, previous, status)
        self._tell(campaign, events.CAMPAIGN_STATUS_CHANGED, payload, frozenset())

    def complete_if_over(self, campaign: Campaign) -> None:
        """A campaign completes itself with its last lead."""
        if campaign.status_at(self._clock.now) != "ACTIVE" or not campaign.enrolments:
            return
        if all(one.status in ENDED for one in campaign.enrolments):
            self.set_status(campaign, "COMPLETED")

    def enrol(self, campaign: Campaign, lead: Lead) -> Enrolment:
        mailboxes = [one for one in self._account.mailboxes if one.id in campaign.mailbox_ids]
        made = Enrolment(
            map_id=3_375_000_000 + next(self._account.ids),
            lead=lead,
            mailbox=self._rng.choice(mailboxes or self._account.mailboxes),
            created_at=self._clock.now,
            next_at=self._clock.now,
        )
        campaign.enrolments.append(made)
        return made

    # Mail

    def send_next(self, campaign: Campaign, enrolment: Enrolment) -> None:
        """The next step of this lead: a mail, or a person is asked to act."""
        now, number = self._clock.now, len(enrolment.of_sequence) + enrolment.manual_done
        enrolment.next_at = None
        if number >= len(campaign.steps):
            self.end(campaign, enrolment, "COMPLETED")
            return
        step = campaign.steps[number]
        if step.is_manual:
            payload = self._payloads.manual_step(campaign, enrolment, now)
            self._note(Happened.MANUAL_STEP_REACHED, campaign, enrolment, number)
            self._tell(campaign, events.MANUAL_STEP_REACHED, payload, frozenset())
            return  # until somebody says that it is done
        variant = self._rng.choice([one for one in step.variants if not one.is_deleted])
        at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        body = variant.body.replace("{{first_name}}", enrolment.lead.first_name)
        sent = Sent(
            new_uuid(self._rng),
            step,
            enrolment.mailbox,
            at,
            variant.subject,
            body,
            f"Hi {enrolment.lead.first_name}, note {step.number}",
            variant_id=variant.id,
        )
        enrolment.sent.append(sent)
        enrolment.status = "INPROGRESS"
        self._note(Happened.SENT, campaign, enrolment, step.number, sent.key)
        for event_type in (events.EMAIL_SENT, events.FIRST_EMAIL_SENT):
            if event_type == events.EMAIL_SENT or (step.number == 1 and campaign.tells_first_sent):
                payload = self._payloads.sent(campaign, enrolment, sent, event_type=event_type)
                self._tell(campaign, event_type, payload, frozenset({sent.key}))
        self._go_on(campaign, enrolment, number + 1)
        self._react(campaign, enrolment, sent)

    def manual_step_done(self, campaign: Campaign, enrolment: Enrolment) -> int | None:
        """Answers the place of the step that follows; None: that was the last."""
        enrolment.manual_done += 1
        following = len(enrolment.of_sequence) + enrolment.manual_done
        self._go_on(campaign, enrolment, following)
        return following if following < len(campaign.steps) else None

    def _go_on(self, campaign: Campaign, enrolment: Enrolment, following: int) -> None:
        if following < len(campaign.steps):
            enrolment.next_at = self._clock.now + timedelta(days=campaign.steps[following].delay_days)
        else:
            self.end(campaign, enrolment, "COMPLETED")

    def answer(self, enrolment: Enrolment, campaign: Campaign, answered: Sent, html: str) -> None:
        """A person's answer, sent a little later. No webhook tells it; the message history does."""

        def go() -> None:
            subject = f"Re: {answered.subject}".strip()
            sent = Sent(new_uuid(self._rng), None, answered.mailbox, self._clock.now, subject, html, html)
            enrolment.sent.append(sent)
            self._note(Happened.SENT_BY_HAND, campaign, enrolment, None, sent.key)

        self.at(self._clock.now + ANSWERS_GO_OUT_AFTER, go)

    def end(self, campaign: Campaign, enrolment: Enrolment, status: str) -> None:
        enrolment.status, enrolment.next_at = status, None
        self.complete_if_over(campaign)

    # What leads (and mail servers) do

    def opens(self, campaign: Campaign, enrolment: Enrolment, sent: Sent) -> None:
        sent.opens.append(self._clock.now)
        self._about(Happened.OPENED, campaign, enrolment, sent)
        payload = self._payloads.opened(campaign, enrolment, sent, self._clock.now)
        self._tell(campaign, events.EMAIL_OPEN, payload, frozenset({sent.key}))

    def clicks(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, link: str) -> None:
        sent.clicks.append(self._clock.now)
        self._about(Happened.CLICKED, campaign, enrolment, sent)
        payload = self._payloads.clicked(campaign, enrolment, sent, self._clock.now, link)
        self._tell(campaign, events.EMAIL_LINK_CLICK, payload, frozenset({sent.key}))

    def replies(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, text: str) -> Reply:
        reply = Reply(
            message_id=f"<CA{self._rng.getrandbits(64):016x}@mail.example.com>",
            at=self._clock.now.replace(microsecond=0),  # a mail server tells whole seconds
            text=f"{text}\n",
            html=f'<div dir="ltr">{text}</div>\r\n',
            author=enrolment.lead.address,
            company="SameCompany",
            is_threaded=bool(enrolment.replies),
        )
        sent.replies.append(reply)
        self._about(Happened.REPLIED, campaign, enrolment, sent, reply.key)
        payload = self._payloads.replied(campaign, enrolment, sent, reply)
        self._tell(campaign, events.EMAIL_REPLY, payload, frozenset({sent.key, reply.key}))
        self.end(campaign, enrolment, "STOPPED")
        return reply

    def bounces(self, campaign: Campaign, enrolment: Enrolment, sent: Sent, *, by_sender: bool = False) -> None:
        sent.bounced_at, sent.is_bounce_by_sender = self._clock.now.replace(microsecond=0), by_sender
        self._about(Happened.BOUNCED, campaign, enrolment, sent)
        if by_sender:
            self._about(Happened.BOUNCED_BY_SENDER, campaign, enrolment, sent)
        payload = self._payloads.bounced(campaign, enrolment, sent, sent.bounced_at)
        self._tell(campaign, events.EMAIL_BOUNCE, payload, frozenset({sent.key}))
        self.end(campaign, enrolment, "BLOCKED")

    def unsubscribes(self, campaign: Campaign, enrolment: Enrolment, sent: Sent | None) -> None:
        """By the link in `sent`; None: by a person of ours, from the inbox."""
        if sent is not None:
            sent.is_unsubscribed = True
        enrolment.lead.is_unsubscribed = True
        number = sent.step.number if sent is not None and sent.step is not None else None
        keys = frozenset({sent.key}) if sent is not None else frozenset[str]()
        self._note(Happened.UNSUBSCRIBED, campaign, enrolment, number, sent.key if sent is not None else None)
        payload = self._payloads.unsubscribed(campaign, enrolment, sent, self._clock.now)
        self._tell(campaign, events.LEAD_UNSUBSCRIBED, payload, keys)
        self.end(campaign, enrolment, "STOPPED")

    def categorize(self, campaign: Campaign, enrolment: Enrolment, category_id: int | None) -> None:
        """Only a new category is told, not that one was taken away."""
        old_id, enrolment.category_id = enrolment.category_id, category_id
        if category_id is None or category_id == old_id:
            return
        now = self._clock.now.replace(microsecond=self._clock.now.microsecond // 1000 * 1000)
        told = frozenset({sent.key for sent in enrolment.sent} | {reply.key for reply in enrolment.replies})
        steps = [sent.step.number for sent in enrolment.of_sequence if sent.step is not None]
        self._note(Happened.CATEGORIZED, campaign, enrolment, max(steps, default=None))
        payload = self._payloads.categorized(campaign, enrolment, now, old_id=old_id, new_id=category_id)
        self._tell(campaign, events.LEAD_CATEGORY_UPDATED, payload, told)

    def _react(self, campaign: Campaign, enrolment: Enrolment, sent: Sent) -> None:
        """Decide now what will become of this mail."""
        rng, at = self._rng, self._clock.now

        def happens(share: float) -> bool:
            return rng.random() < share * self._reactions

        def later(act: Callable[[], object], least: int, most: int) -> None:
            def do() -> None:
                if enrolment in campaign.enrolments:  # else taken out meanwhile
                    act()

            self.at(at + timedelta(seconds=rng.randrange(least, most)), do)

        if happens(play.BOUNCED_SHARE):
            later(lambda: self.bounces(campaign, enrolment, sent), 1, 90)
            return
        if happens(play.OPENED_SHARE):
            later(lambda: self.opens(campaign, enrolment, sent), 30, 3_600)
            if happens(play.CLICKED_SHARE):
                later(lambda: self.clicks(campaign, enrolment, sent, "https://example.com/demo"), 3_600, 7_200)
        if happens(play.UNSUBSCRIBED_SHARE):
            later(lambda: self.unsubscribes(campaign, enrolment, sent), 7_200, 20_000)
        elif happens(play.REPLIED_SHARE):
            later(lambda: self.replies(campaign, enrolment, sent, "Tell me more"), 7_200, 80_000)

    def _about(
        self, what: Happened, campaign: Campaign, enrolment: Enrolment, sent: Sent, key: str | None = None
    ) -> None:
        number = sent.step.number if sent.step is not None else None
        self._note(what, campaign, enrolment, number, key or sent.key)

    def _note(
        self,
        what: Happened,
        campaign: Campaign,
        enrolment: Enrolment | None = None,
        step: int | None = None,
        message_key: str | None = None,
    ) -> None:
        lead_key = enrolment.lead.key if enrolment is not None else ""
        self._journal.notes.append(Note(what, campaign.external_id, step, lead_key, message_key))
