"""Plays outreach: who is written to, opens, answers, bounces, leaves. One seed, one story.

The shares below are rough ones of cold e-mail, chosen so that a few thousand webhooks hold enough of every kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from libs.providers.emailbison import events
from libs.providers.emailbison.simulator.model import (
    Account,
    Campaign,
    Enrolment,
    InboxRow,
    Mail,
    Mailbox,
    new_lead,
    new_uuid,
    whole_second,
)
from libs.providers.emailbison.simulator.payloads import Payload, Payloads
from libs.providers.mail_journal import Happened, Journal, Note

PLAYED_DAYS = 14
CONTACTED_BEFORE_SHARE = 0.40
OPENED_SHARE = 0.45  # where openings are tracked at all
OPENED_AGAIN_SHARE = 0.35
MOST_OPENS = 5
REPLIED_SHARE = 0.08
REPLIED_AGAIN_SHARE = 0.30
AUTOMATED_SHARE = 0.10  # of the replies
COLLEAGUE_SHARE = 0.08
INTERESTED_SHARE = 0.35  # of those who replied
BOUNCED_SHARE = 0.02
UNSUBSCRIBED_SHARE = 0.012

_REPLIES = (
    "Send details please.",
    "Not now, please ask me in spring.",
    "Who else works with you?",
    "Wrong desk.",
)
_MAILBOX_TYPES = (
    events.EMAIL_ACCOUNT_DISCONNECTED,
    events.EMAIL_ACCOUNT_RECONNECTED,
    events.EMAIL_ACCOUNT_ADDED,
    events.WARMUP_DISABLED_RECEIVING_BOUNCES,
    events.WARMUP_DISABLED_CAUSING_BOUNCES,
    events.EMAIL_ACCOUNT_REMOVED,
)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What happened, as the webhook that tells it. `message_keys` are all messages which that webhook tells."""

    at: datetime
    event_type: str
    payload: Payload
    message_keys: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Scene:
    """One lead's story; it becomes part of the account when it is taken."""

    campaign: Campaign
    enrolment: Enrolment
    occurrences: list[Occurrence] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    rows: list[InboxRow] = field(default_factory=list)


class Player:
    def __init__(
        self,
        rng: random.Random,
        account: Account,
        journal: Journal,
        *,
        now: datetime,
        answered_by_hand_share: float,
    ) -> None:
        self._rng = rng
        self._account = account
        self._journal = journal
        self._payloads = Payloads(account)
        self._now = whole_second(now)
        self._answered_by_hand_share = answered_by_hand_share
        self._frame = self._frame_occurrences()
        self._turn = 0

    def play(self, count: int) -> list[Occurrence]:
        """Play on for exactly `count` occurrences, in no order. Called again, it goes on with new leads."""
        taken: list[Occurrence] = []
        # At most a tenth for what no lead of a campaign does, so that also a short play is about leads.
        while len(taken) < count // 10 and (told := next(self._frame, None)) is not None:
            occurrence, note = told
            taken.append(occurrence)
            if note is not None:
                self._journal.notes.append(note)
        while len(taken) < count:
            campaign = self._account.campaigns[self._turn % len(self._account.campaigns)]
            scene = self._scene(campaign)
            if len(scene.occurrences) > count - len(taken):
                scene = self._one_mail(scene)
            self._turn += 1
            taken += scene.occurrences
            campaign.enrolments.append(scene.enrolment)
            self._account.inbox += scene.rows
            self._journal.notes += scene.notes
        return taken

    def _frame_occurrences(self) -> Iterator[tuple[Occurrence, Note | None]]:
        """What belongs to no lead of a campaign: untracked mail, answers to it, mailboxes, tags."""
        rng, account = self._rng, self._account
        for number in range(2 * len(account.campaigns)):
            mailbox = rng.choice(account.mailboxes)
            at = self._start()
            address = f"lee.park{number}@initech.example.com"
            row = self._row(at, "Untracked Reply", "Inbox", "Intro from a friend", mailbox, "Lee Park", address)
            account.inbox.append(row)
            note = Note(Happened.UNTRACKED_REPLY, lead_key=f"email:{address}", message_key=row.key)
            payload = self._payloads.untracked(row)
            yield Occurrence(row.created_at, events.UNTRACKED_REPLY_RECEIVED, payload, frozenset({row.key})), note
            answer = self._by_hand(row.created_at + timedelta(minutes=20), mailbox, "Lee Park", address, row.subject)
            account.inbox.append(answer)
            note = Note(Happened.SENT_BY_HAND, lead_key=f"email:{address}", message_key=answer.key)
            payload = self._payloads.manual(answer, None)
            yield Occurrence(answer.created_at, events.MANUAL_EMAIL_SENT, payload, frozenset({answer.key})), note
            for event_type in _MAILBOX_TYPES[number % 2 :: 2]:
                at += timedelta(minutes=7)
                mailbox.is_connected = event_type != events.EMAIL_ACCOUNT_DISCONNECTED
                mailbox.updated_at = at
                yield Occurrence(at, event_type, self._payloads.about_mailbox(event_type, mailbox)), None
            for event_type in (events.TAG_ATTACHED, events.TAG_REMOVED):
                campaign = account.campaigns[number % len(account.campaigns)]
                payload = self._payloads.tag(event_type, account.tags[-1], campaign.id, "Campaign")
                yield Occurrence(at, event_type, payload), None

    def _one_mail(self, scene: _Scene) -> _Scene:
        """The same lead, to whom nothing happened yet but the first mail."""
        enrolment, lead = scene.enrolment, scene.enrolment.lead
        lead.was_contacted_before, lead.status = True, "unverified"
        mail = replace(enrolment.mails[0], opens=0, replies=0, is_bounced=False, is_interested=False)
        bare = Enrolment(lead, enrolment.mailbox, enrolment.created_at, mails=[mail])
        short = _Scene(scene.campaign, bare)
        self._tell_mail(short, events.EMAIL_SENT, mail, _sent_at(mail))
        self._note(short, Happened.SENT, mail, mail.key)
        return short

    def _scene(self, campaign: Campaign) -> _Scene:
        rng = self._rng
        at = self._start()
        lead = new_lead(rng, self._account, created_at=at - timedelta(hours=2))
        lead.was_contacted_before = rng.random() < CONTACTED_BEFORE_SHARE
        enrolment = Enrolment(lead, rng.choice(self._account.mailboxes), lead.created_at)
        scene = _Scene(campaign, enrolment)
        for step in campaign.steps:
            if enrolment.mails and at >= self._now - timedelta(hours=1):
                enrolment.mails.append(self._mail(enrolment, campaign, at, is_sent=False))
                break
            mail = self._send(scene, at)
            if self._ends_with(scene, mail):
                break
            at = self._after(at + timedelta(days=step.wait_in_days), 0, 5400)
        else:
            enrolment.status = "sequence_finished"
        return scene

    def _ends_with(self, scene: _Scene, mail: Mail) -> bool:
        """What follows a mail; True when the sequence ends with it."""
        rng = self._rng
        if rng.random() < BOUNCED_SHARE:
            self._bounce(scene, mail)
            return True
        at = _sent_at(mail)
        if scene.campaign.open_tracking and rng.random() < OPENED_SHARE:
            at = self._open(scene, mail)
        if rng.random() < REPLIED_SHARE:
            self._converse(scene, mail, at)
            return mail.replies > 0
        if rng.random() < UNSUBSCRIBED_SHARE and (at := self._after(at, 60, 4_000)) < self._now:
            scene.enrolment.lead.status, scene.enrolment.status = "unsubscribed", "sequence_stopped"
            mail.mailbox.counts["unsubscribed"] += 1
            self._tell_mail(scene, events.LEAD_UNSUBSCRIBED, mail, at)
            self._note(scene, Happened.UNSUBSCRIBED, mail, mail.key)
            return True
        return False

    def _mail(self, enrolment: Enrolment, campaign: Campaign, at: datetime, *, is_sent: bool) -> Mail:
        rng, lead = self._rng, enrolment.lead
        step = campaign.steps[len(enrolment.mails)]
        variant = rng.randrange(len(step.choices))
        chosen = step.choices[variant]
        at = whole_second(at)
        return Mail(
            id=self._account.new_id("scheduled_emails"),
            step=chosen,
            variant=variant + 1,
            mailbox=enrolment.mailbox,
            scheduled_at=at,
            sent_at=at + timedelta(seconds=rng.randrange(1, 30)) if is_sent else None,
            subject=("Re: " if step.number > 1 else "") + chosen.subject,
            html=chosen.body.replace("{FIRST_NAME}", lead.first_name),
            message_id=f"<{new_uuid(rng)}@{enrolment.mailbox.address.partition('@')[2]}>",
        )

    def _send(self, scene: _Scene, at: datetime) -> Mail:
        enrolment = scene.enrolment
        mail = self._mail(enrolment, scene.campaign, at, is_sent=True)
        enrolment.mails.append(mail)
        mail.mailbox.counts["sent"] += 1
        event_id, told_at = self._account.new_id("campaign_events"), _sent_at(mail) + timedelta(seconds=1)
        self._tell_mail(scene, events.EMAIL_SENT, mail, told_at, event_id)
        if len(enrolment.mails) == 1 and not enrolment.lead.was_contacted_before:
            self._tell_mail(scene, events.LEAD_FIRST_CONTACTED, mail, told_at, event_id)
        self._note(scene, Happened.SENT, mail, mail.key)
        return mail

    def _open(self, scene: _Scene, mail: Mail) -> datetime:
        """Opens; returns the time of the last."""
        at = _sent_at(mail)
        while mail.opens < MOST_OPENS:
            # A pixel is fetched twice within a second now and then.
            at = at if mail.opens and self._rng.random() < 0.1 else self._after(at, 30, 50_000)
            if at >= self._now:
                break
            mail.opens += 1
            mail.mailbox.counts["opened"] += 1
            self._tell_mail(scene, events.EMAIL_OPENED, mail, at)
            self._note(scene, Happened.OPENED, mail, mail.key)
            if self._rng.random() >= OPENED_AGAIN_SHARE:
                break
        return min(at, self._now)

    def _bounce(self, scene: _Scene, mail: Mail) -> None:
        enrolment, at = scene.enrolment, self._after(_sent_at(mail), 5, 90)
        mail.is_bounced, enrolment.bounces = True, 1
        enrolment.lead.status, enrolment.status = "bounced", "bounced"
        mail.mailbox.counts["bounced"] += 1
        row = self._row(
            at,
            "Bounced",
            "Bounced",
            "Delivery Status Notification (Failure)",
            mail.mailbox,
            "Mail Delivery Subsystem",
            "mailer-daemon@mx.example.com",
            text="550 5.1.1 no such user",
            lag_seconds=60,
        )
        row.lead, row.campaign, row.mail, row.is_automated = enrolment.lead, scene.campaign, mail, True
        scene.rows.append(row)
        self._tell_row(scene, events.EMAIL_BOUNCED, row, at, with_row=False)
        self._note(scene, Happened.BOUNCED, mail, mail.key)

    def _converse(self, scene: _Scene, mail: Mail, at: datetime) -> None:
        rng, enrolment, lead = self._rng, scene.enrolment, scene.enrolment.lead
        name, author = lead.name, lead.address
        if rng.random() < COLLEAGUE_SHARE:
            name, author = "Front Desk", f"front.desk@{lead.address.partition('@')[2]}"
        for is_second in (False, True):
            at = self._after(at, 600, 100_000)
            if at >= self._now or (is_second and rng.random() >= REPLIED_AGAIN_SHARE):
                break
            if is_second and rng.random() < self._answered_by_hand_share:
                self._answer_by_hand(scene, mail, at - timedelta(minutes=5))
            row = self._row(at, "Tracked Reply", "Inbox", f"Re: {mail.subject}", mail.mailbox, name, author)
            row.lead, row.campaign, row.mail = lead, scene.campaign, mail
            row.is_automated = rng.random() < AUTOMATED_SHARE
            scene.rows.append(row)
            mail.replies += 1
            enrolment.replies += 1
            enrolment.status = "replied"
            mail.mailbox.counts["replied"] += 1
            if scene.campaign.tells_automated or not row.is_automated:
                self._tell_row(scene, events.LEAD_REPLIED, row, row.created_at)
            self._note(scene, Happened.REPLIED, mail, row.key)
            if row.is_automated or enrolment.is_interested or rng.random() >= INTERESTED_SHARE:
                continue
            judged_at = self._after(row.created_at, 60, 3_000)
            if judged_at < self._now:
                row.is_interested = enrolment.is_interested = mail.is_interested = True
                row.updated_at = judged_at
                mail.mailbox.counts["interested"] += 1
                self._tell_row(scene, events.LEAD_INTERESTED, row, judged_at)
                self._note(scene, Happened.CATEGORIZED, mail, None)

    def _answer_by_hand(self, scene: _Scene, mail: Mail, at: datetime) -> None:
        lead = scene.enrolment.lead
        row = self._by_hand(at, mail.mailbox, lead.name, lead.address, f"Re: {mail.subject}")
        row.lead, row.campaign, row.mail = lead, scene.campaign, mail
        scene.rows.append(row)
        payload = self._payloads.manual(row, scene.enrolment)
        keys = frozenset({row.key, mail.key})
        scene.occurrences.append(Occurrence(row.created_at, events.MANUAL_EMAIL_SENT, payload, keys))
        self._note(scene, Happened.SENT_BY_HAND, None, row.key)

    def _row(
        self,
        at: datetime,
        row_type: str,
        folder: str,
        subject: str,
        mailbox: Mailbox,
        from_name: str,
        from_address: str,
        *,
        text: str | None = None,
        lag_seconds: int = 7_200,
    ) -> InboxRow:
        """Mailboxes are read now and then: a row is made up to `lag_seconds` after it was received."""
        at = whole_second(at)
        made_at = min(at + timedelta(seconds=self._rng.randrange(5, lag_seconds)), self._now - timedelta(seconds=1))
        return InboxRow(
            id=self._account.new_id("replies"),
            uuid=new_uuid(self._rng),
            type=row_type,
            folder=folder,
            subject=subject,
            text=text or self._rng.choice(_REPLIES),
            received_at=at,
            created_at=max(made_at, at),
            updated_at=max(made_at, at),
            from_name=from_name,
            from_address=from_address,
            to_name=mailbox.name,
            to_address=mailbox.address,
            message_id=f"<CA{self._rng.getrandbits(64):016x}@mx.example.com>",
            mailbox=mailbox,
        )

    def _by_hand(self, at: datetime, mailbox: Mailbox, to_name: str, to_address: str, subject: str) -> InboxRow:
        subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
        row = self._row(at, "Outgoing Email", "Sent", subject, mailbox, mailbox.name, mailbox.address, lag_seconds=6)
        row.text, row.to_name, row.to_address = "Sure, attached.", to_name, to_address
        return row

    def _start(self) -> datetime:
        return self._now - timedelta(seconds=self._rng.randrange(7200, PLAYED_DAYS * 86_400))

    def _after(self, at: datetime, least_seconds: int, most_seconds: int) -> datetime:
        return at + timedelta(seconds=self._rng.randrange(least_seconds, most_seconds))

    def _tell_mail(self, scene: _Scene, event_type: str, mail: Mail, at: datetime, event_id: int | None = None) -> None:
        event_id = event_id if event_id is not None else self._account.new_id("campaign_events")
        payload = self._payloads.about_mail(event_type, scene.campaign, scene.enrolment, mail, event_id=event_id, at=at)
        scene.occurrences.append(Occurrence(at, event_type, payload, frozenset({mail.key})))

    def _tell_row(self, scene: _Scene, event_type: str, row: InboxRow, at: datetime, *, with_row: bool = True) -> None:
        assert row.mail is not None
        event_id = self._account.new_id("campaign_events")
        payload = self._payloads.about_reply(event_type, scene.campaign, scene.enrolment, row, event_id=event_id, at=at)
        keys = {row.mail.key, row.key} if with_row else {row.mail.key}
        scene.occurrences.append(Occurrence(at, event_type, payload, frozenset(keys)))

    def _note(self, scene: _Scene, what: Happened, mail: Mail | None, message_key: str | None) -> None:
        step = mail.step.number if mail is not None else None
        scene.notes.append(Note(what, scene.campaign.external_id, step, scene.enrolment.lead.key, message_key))


def _sent_at(mail: Mail) -> datetime:
    assert mail.sent_at is not None
    return mail.sent_at
