"""What happens while somebody uses the API: campaigns send as time goes by, leads react, and webhooks tell of it.

Mail is sent when it is due, at any hour: a campaign's schedule and daily limits are kept and told, and not obeyed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from libs.providers.emailbison import events
from libs.providers.emailbison.simulator import play
from libs.providers.emailbison.simulator.model import (
    Account,
    Campaign,
    Enrolment,
    InboxRow,
    Lead,
    Mail,
    new_uuid,
    whole_second,
)
from libs.providers.emailbison.simulator.payloads import Payload, Payloads
from libs.providers.mail_journal import Happened, Journal, Note
from libs.providers.simulation import SimulatedClock

LAUNCHES_AFTER = timedelta(seconds=20)  # queued, launching, active: by itself
DELETES_AFTER = timedelta(minutes=1)
_ENDED = ("sequence_finished", "sequence_stopped", "stopped", "replied", "bounced", "unsubscribed")

# The type, the body, the keys of the messages that it tells.
Tell = Callable[[str, Payload, frozenset[str]], None]


class Live:
    """`reactions` multiplies the shares of those who open, answer, bounce and leave; 0: nobody does by themselves."""

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

    def after(self, wait: timedelta, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self._clock.now + wait, next(self._numbers), act))

    def _next(self) -> tuple[datetime, Callable[[], None]] | None:
        due = [
            (one.next_at, one.lead.id, campaign, one)
            for campaign in self._account.campaigns
            if campaign.status == "active"
            for one in campaign.enrolments
            if one.next_at is not None and one.status == "in_sequence"
        ]
        mail = min(due, key=lambda entry: entry[:2], default=None)
        if self._agenda and (mail is None or self._agenda[0][0] <= mail[0]):
            return self._agenda[0][0], self._act
        if mail is None:
            return None
        at, _, campaign, enrolment = mail
        return at, lambda: self.send_next(campaign, enrolment)

    def _act(self) -> None:
        _, _, act = heapq.heappop(self._agenda)
        act()

    # Campaigns. No webhook tells of them.

    def set_status(self, campaign: Campaign, status: str) -> None:
        campaign.status, campaign.updated_at = status, whole_second(self._clock.now)
        self._journal.notes.append(Note(Happened.STATUS_CHANGED, campaign.external_id))

    def launch(self, campaign: Campaign) -> None:
        self.set_status(campaign, "queued")
        for before, then in (("queued", "launching"), ("launching", "active")):
            wait = LAUNCHES_AFTER if then == "launching" else 2 * LAUNCHES_AFTER

            def go(before: str = before, then: str = then) -> None:
                if campaign.status == before:  # else somebody was faster
                    self.set_status(campaign, then)

            self.after(wait, go)
        for one in campaign.enrolments:
            if one.status == "sending_paused":
                one.status = "in_sequence"

    def pause(self, campaign: Campaign) -> None:
        """Frees its leads for other campaigns."""
        self.set_status(campaign, "paused")
        for one in campaign.enrolments:
            if one.status == "in_sequence":
                one.status = "sending_paused"

    def enrol(self, campaign: Campaign, lead: Lead) -> Enrolment:
        mailboxes = [one for one in self._account.mailboxes if one.id in campaign.sender_ids]
        now = whole_second(self._clock.now)
        status = "sending_paused" if campaign.status == "paused" else "in_sequence"
        chosen = self._rng.choice(mailboxes or self._account.mailboxes)
        made = Enrolment(lead, chosen, now, status=status, next_at=self._clock.now)
        campaign.enrolments.append(made)
        return made

    def end(self, campaign: Campaign, enrolment: Enrolment, status: str) -> None:
        enrolment.status, enrolment.next_at = status, None
        if campaign.status == "active" and all(one.status in _ENDED for one in campaign.enrolments):
            self.set_status(campaign, "completed")

    # Mail

    def send_next(self, campaign: Campaign, enrolment: Enrolment) -> None:
        now, number = whole_second(self._clock.now), len(enrolment.sent)
        enrolment.next_at = None
        if number >= len(campaign.steps):
            self.end(campaign, enrolment, "sequence_finished")
            return
        step, lead = campaign.steps[number], enrolment.lead
        place = self._rng.randrange(len(step.choices))
        chosen = step.choices[place]
        mail = Mail(
            id=self._account.new_id("scheduled_emails"),
            step=chosen,
            variant=place + 1,
            mailbox=enrolment.mailbox,
            scheduled_at=now,
            sent_at=now,
            subject=("Re: " if chosen.threads else "") + chosen.subject,
            html=chosen.body.replace("{FIRST_NAME}", lead.first_name),
            message_id=f"<{new_uuid(self._rng)}@{enrolment.mailbox.address.partition('@')[2]}>",
        )
        enrolment.mails.append(mail)
        mail.mailbox.counts["sent"] += 1
        event_id = self._account.new_id("campaign_events")
        self._note(Happened.SENT, campaign, enrolment, mail, mail.key)
        self._about_mail(events.EMAIL_SENT, campaign, enrolment, mail, event_id)
        if not lead.was_contacted_before:
            lead.was_contacted_before = True
            self._about_mail(events.LEAD_FIRST_CONTACTED, campaign, enrolment, mail, event_id)
        if number + 1 < len(campaign.steps):
            enrolment.next_at = self._clock.now + timedelta(days=step.wait_in_days)
        else:
            self.end(campaign, enrolment, "sequence_finished")
        self._react(campaign, enrolment, mail)

    def write_by_hand(self, answered: InboxRow, row: InboxRow) -> None:
        """A person's answer: at once in the inbox, and told."""
        self._account.inbox.append(row)
        campaign, lead = row.campaign, row.lead
        enrolment = campaign.enrolment(lead.id) if campaign is not None and lead is not None else None
        lead_key = lead.key if lead is not None else f"email:{row.to_address}"
        external_id = campaign.external_id if campaign is not None else ""
        self._journal.notes.append(Note(Happened.SENT_BY_HAND, external_id, None, lead_key, row.key))
        payload = self._payloads.manual(row, enrolment)
        keys = {row.key, answered.mail.key} if answered.mail is not None else {row.key}
        self._tell(events.MANUAL_EMAIL_SENT, payload, frozenset(keys))

    # What leads (and mail servers) do

    def opens(self, campaign: Campaign, enrolment: Enrolment, mail: Mail) -> None:
        if not campaign.open_tracking:
            return
        mail.opens += 1
        mail.mailbox.counts["opened"] += 1
        self._note(Happened.OPENED, campaign, enrolment, mail, mail.key)
        self._about_mail(events.EMAIL_OPENED, campaign, enrolment, mail)

    def replies(self, campaign: Campaign, enrolment: Enrolment, mail: Mail, text: str) -> InboxRow:
        person = enrolment.lead
        row = self._row("Tracked Reply", "Inbox", f"Re: {mail.subject}", mail, person.name, person.address, text)
        row.lead, row.campaign, row.mail = person, campaign, mail
        self._account.inbox.append(row)
        mail.replies += 1
        enrolment.replies += 1
        mail.mailbox.counts["replied"] += 1
        self.end(campaign, enrolment, "replied")
        self._note(Happened.REPLIED, campaign, enrolment, mail, row.key)
        self._about_row(events.LEAD_REPLIED, campaign, enrolment, row, frozenset({row.key, mail.key}))
        return row

    def bounces(self, campaign: Campaign, enrolment: Enrolment, mail: Mail) -> None:
        mail.is_bounced, enrolment.bounces, enrolment.lead.status = True, enrolment.bounces + 1, "bounced"
        mail.mailbox.counts["bounced"] += 1
        daemon, subject = "mailer-daemon@mx.example.com", "Delivery Status Notification (Failure)"
        text = "550 5.1.1 no such user"
        row = self._row("Bounced", "Bounced", subject, mail, "Mail Delivery Subsystem", daemon, text)
        row.lead, row.campaign, row.mail, row.is_automated = enrolment.lead, campaign, mail, True
        self._account.inbox.append(row)
        self.end(campaign, enrolment, "bounced")
        self._note(Happened.BOUNCED, campaign, enrolment, mail, mail.key)
        self._about_row(events.EMAIL_BOUNCED, campaign, enrolment, row, frozenset({mail.key}))

    def unsubscribes(self, lead: Lead) -> None:
        """Everywhere. Told of each campaign that had written."""
        lead.status = "unsubscribed"
        for campaign in self._account.campaigns:
            enrolment = campaign.enrolment(lead.id)
            if enrolment is None or enrolment.status == "unsubscribed":
                continue
            self.end(campaign, enrolment, "unsubscribed")
            if enrolment.sent:
                mail = enrolment.sent[-1]
                mail.mailbox.counts["unsubscribed"] += 1
                self._note(Happened.UNSUBSCRIBED, campaign, enrolment, mail, mail.key)
                self._about_mail(events.LEAD_UNSUBSCRIBED, campaign, enrolment, mail)

    def judge(self, row: InboxRow, is_interested: bool, *, skip_webhooks: bool = False) -> None:
        """Only the first interest of a lead in a campaign is told."""
        enrolment = row.campaign.enrolment(row.lead.id) if row.campaign is not None and row.lead is not None else None
        row.is_interested, row.updated_at = is_interested, whole_second(self._clock.now)
        if row.campaign is None or enrolment is None or row.mail is None:
            return
        was_interested, enrolment.is_interested = enrolment.is_interested, is_interested
        row.mail.is_interested = is_interested
        if is_interested and not was_interested:
            row.mailbox.counts["interested"] += 1
            self._note(Happened.CATEGORIZED, row.campaign, enrolment, row.mail, None)
            if not skip_webhooks:
                keys = frozenset({row.key, row.mail.key})
                self._about_row(events.LEAD_INTERESTED, row.campaign, enrolment, row, keys)

    def _react(self, campaign: Campaign, enrolment: Enrolment, mail: Mail) -> None:
        """Decide now what will become of this mail."""
        rng = self._rng

        def happens(share: float) -> bool:
            return rng.random() < share * self._reactions

        def later(act: Callable[[], object], least: int, most: int) -> None:
            def do() -> None:
                if enrolment in campaign.enrolments:  # else taken out meanwhile
                    act()

            self.after(timedelta(seconds=rng.randrange(least, most)), do)

        if happens(play.BOUNCED_SHARE):
            later(lambda: self.bounces(campaign, enrolment, mail), 5, 90)
            return
        if happens(play.OPENED_SHARE):
            later(lambda: self.opens(campaign, enrolment, mail), 30, 3_600)
        if happens(play.UNSUBSCRIBED_SHARE):
            later(lambda: self.unsubscribes(enrolment.lead), 7_200, 20_000)
        elif happens(play.REPLIED_SHARE):
            later(lambda: self.replies(campaign, enrolment, mail, "Send details please."), 7_200, 80_000)

    def _row(
        self, kind: str, folder: str, subject: str, mail: Mail, from_name: str, from_address: str, text: str
    ) -> InboxRow:
        now = whole_second(self._clock.now)
        return InboxRow(
            id=self._account.new_id("replies"),
            uuid=new_uuid(self._rng),
            type=kind,
            folder=folder,
            subject=subject,
            text=text,
            received_at=now,
            created_at=now,
            updated_at=now,
            from_name=from_name,
            from_address=from_address,
            to_name=mail.mailbox.name,
            to_address=mail.mailbox.address,
            message_id=f"<CA{self._rng.getrandbits(64):016x}@mx.example.com>",
            mailbox=mail.mailbox,
        )

    def new_uuid(self) -> str:
        return new_uuid(self._rng)

    def _about_mail(
        self, event_type: str, campaign: Campaign, enrolment: Enrolment, mail: Mail, event_id: int | None = None
    ) -> None:
        number = event_id if event_id is not None else self._account.new_id("campaign_events")
        at = whole_second(self._clock.now)
        payload = self._payloads.about_mail(event_type, campaign, enrolment, mail, event_id=number, at=at)
        self._tell(event_type, payload, frozenset({mail.key}))

    def _about_row(
        self, event_type: str, campaign: Campaign, enrolment: Enrolment, row: InboxRow, keys: frozenset[str]
    ) -> None:
        number, at = self._account.new_id("campaign_events"), whole_second(self._clock.now)
        payload = self._payloads.about_reply(event_type, campaign, enrolment, row, event_id=number, at=at)
        self._tell(event_type, payload, keys)

    def _note(
        self, what: Happened, campaign: Campaign, enrolment: Enrolment, mail: Mail, message_key: str | None
    ) -> None:
        note = Note(what, campaign.external_id, mail.step.number, enrolment.lead.key, message_key)
        self._journal.notes.append(note)
