"""Plays outreach: who is written to, opens, clicks, answers, bounces, leaves. One seed, one story.

The shares below are rough ones of cold e-mail, chosen so that a few thousand webhooks hold enough of every kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.providers.smartlead import events
from libs.providers.smartlead.simulator.casting import new_lead, new_uuid
from libs.providers.smartlead.simulator.journal import Happened, Journal, Note
from libs.providers.smartlead.simulator.model import Account, Campaign, Enrolment, Reply, Sent
from libs.providers.smartlead.simulator.payloads import Payload, Payloads

PLAYED_DAYS = 14
OPENED_SHARE = 0.40
OPENED_AGAIN_SHARE = 0.35
MOST_OPENS = 5
CLICKED_SHARE = 0.20  # of the opened
REPLIED_SHARE = 0.08
REPLIED_AGAIN_SHARE = 0.30
COLLEAGUE_SHARE = 0.08
BOUNCED_SHARE = 0.02
BOUNCED_BY_SENDER_SHARE = 0.20
UNSUBSCRIBED_SHARE = 0.012
CATEGORIZED_SHARE = 0.60  # of the replies
CATEGORIZED_BY_HAND_SHARE = 0.005  # without any reply
RECATEGORIZED_SHARE = 0.15

_REPLIES = (
    "Tell me more",
    "Not now, please ask me in spring",
    "Who else works with you?",
    "Please send a price",
    "Wrong desk",
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


class Player:
    def __init__(
        self,
        rng: random.Random,
        account: Account,
        journal: Journal,
        payloads: Payloads,
        *,
        now: datetime,
        answered_by_hand_share: float,
    ) -> None:
        self._rng = rng
        self._account = account
        self._journal = journal
        self._payloads = payloads
        self._now = now
        self._answered_by_hand_share = answered_by_hand_share
        self._frame = self._campaign_occurrences()
        self._turn = 0

    def play(self, count: int) -> list[Occurrence]:
        """Play on for exactly `count` occurrences, in no order. Called again, it goes on with new leads."""
        taken: list[Occurrence] = []
        # At most a tenth for what no lead does, so that also a short play is about leads.
        for occurrence, note in self._frame:
            taken.append(occurrence)
            self._journal.notes.append(note)
            if len(taken) >= count // 10:
                break
        while len(taken) < count:
            campaign = self._account.campaigns[self._turn % len(self._account.campaigns)]
            scene = self._scene(campaign)
            if len(scene.occurrences) > count - len(taken):
                scene = self._one_mail(scene)
            self._turn += 1
            taken += scene.occurrences
            campaign.enrolments.append(scene.enrolment)
            self._journal.notes += scene.notes
        return taken

    def _campaign_occurrences(self) -> Iterator[tuple[Occurrence, Note]]:
        rng = self._rng
        for number, campaign in enumerate(self._account.campaigns):
            for (_, previous), (at, current) in zip(campaign.history, campaign.history[1:], strict=False):
                payload = self._payloads.status_changed(campaign, previous, current)
                note = Note(Happened.STATUS_CHANGED, campaign.external_id)
                yield Occurrence(at, events.CAMPAIGN_STATUS_CHANGED, payload), note
            mailbox = rng.choice(self._account.mailboxes)
            reply = self._reply(self._start(), f"ana{number}@elsewhere.example.com", "Unknown")
            payload = self._payloads.untracked(mailbox.address, reply, name="Ana Ruiz", subject="Dock slots")
            note = Note(Happened.UNTRACKED_REPLY, lead_key=f"email:{reply.author}", message_key=reply.key)
            yield Occurrence(reply.at, events.UNTRACKED_REPLIES, payload, frozenset({reply.key})), note

    def _one_mail(self, scene: _Scene) -> _Scene:
        """The same lead, to whom nothing happened yet but the first mail."""
        enrolment = scene.enrolment
        first = enrolment.sent[0]
        bare = Sent(first.stats_id, first.step, first.mailbox, first.at, first.subject, first.html, first.text)
        enrolment.sent, enrolment.category_id, enrolment.status = [bare], None, "INPROGRESS"
        enrolment.next_at = self._now if len(scene.campaign.steps) > 1 else None
        enrolment.lead.is_unsubscribed = False
        short = _Scene(scene.campaign, enrolment)
        self._tell(short, bare.at, events.EMAIL_SENT, self._payloads.sent(scene.campaign, enrolment, bare), {bare.key})
        self._note(short, Happened.SENT, bare, bare.key)
        return short

    def _scene(self, campaign: Campaign) -> _Scene:
        rng = self._rng
        at = self._start()
        lead = new_lead(rng, self._account, created_at=at - timedelta(hours=2))
        enrolment = Enrolment(
            map_id=3_375_000_000 + lead.id % 1_000_000_000,
            lead=lead,
            mailbox=rng.choice(self._account.mailboxes),
            created_at=lead.created_at,
        )
        scene = _Scene(campaign, enrolment)
        for step in campaign.steps:
            at = self._while_running(campaign, at + timedelta(days=step.delay_days, seconds=rng.randrange(0, 5400)))
            if enrolment.sent and at >= self._now - timedelta(hours=1):
                enrolment.next_at = max(at, self._now)
                break
            if step.is_manual:
                self._tell(scene, at, events.MANUAL_STEP_REACHED, self._payloads.manual_step(campaign, enrolment, at))
                self._note(scene, Happened.MANUAL_STEP_REACHED, enrolment.sent[-1], None)
                break
            sent = self._send(scene, at)
            if self._ends_with(scene, sent):
                break
        return scene

    def _ends_with(self, scene: _Scene, sent: Sent) -> bool:
        """What the lead does with one mail, and whether that ends the sequence."""
        rng, enrolment, campaign = self._rng, scene.enrolment, scene.campaign
        if rng.random() < BOUNCED_SHARE:
            self._bounce(scene, sent)
            return True
        at = sent.at
        if rng.random() < OPENED_SHARE:
            at = self._open(scene, sent)
        if rng.random() < UNSUBSCRIBED_SHARE:
            self._unsubscribe(scene, sent, at)
            return True
        if rng.random() < REPLIED_SHARE:
            self._converse(scene, sent, at)
            return True
        if rng.random() < CATEGORIZED_BY_HAND_SHARE and (at := self._after(at, 600, 86_400)) < self._now:
            self._categorize(scene, at, rng.choice((3, 4, 7)))
            return True
        enrolment.status = "COMPLETED" if sent.step is campaign.steps[-1] else "INPROGRESS"
        return False

    def _send(self, scene: _Scene, at: datetime) -> Sent:
        campaign, enrolment, number = scene.campaign, scene.enrolment, len(scene.enrolment.sent)
        step = campaign.steps[number]
        at = at.replace(microsecond=self._rng.randrange(0, 1000) * 1000)
        body = step.body.replace("{{first_name}}", enrolment.lead.first_name)
        # The text of a campaign's mail equals its HTML or has the tags taken off; both were seen.
        text = f"Hi {enrolment.lead.first_name}, note {step.number}"
        sent = Sent(new_uuid(self._rng), step, enrolment.mailbox, at, step.subject, body, text)
        enrolment.sent.append(sent)
        enrolment.status = "INPROGRESS"
        self._tell(scene, at, events.EMAIL_SENT, self._payloads.sent(campaign, enrolment, sent), {sent.key})
        if step.number == 1 and campaign.tells_first_sent:
            payload = self._payloads.sent(campaign, enrolment, sent, event_type=events.FIRST_EMAIL_SENT)
            self._tell(scene, at, events.FIRST_EMAIL_SENT, payload, {sent.key})
        self._note(scene, Happened.SENT, sent, sent.key)
        return sent

    def _bounce(self, scene: _Scene, sent: Sent) -> None:
        sent.bounced_at = (sent.at + timedelta(seconds=self._rng.randrange(1, 90))).replace(microsecond=0)
        sent.is_bounce_by_sender = self._rng.random() < BOUNCED_BY_SENDER_SHARE
        scene.enrolment.status = "BLOCKED"
        payload = self._payloads.bounced(scene.campaign, scene.enrolment, sent, sent.bounced_at)
        self._tell(scene, sent.bounced_at, events.EMAIL_BOUNCE, payload, {sent.key})
        self._note(scene, Happened.BOUNCED, sent, sent.key)
        if sent.is_bounce_by_sender:
            self._note(scene, Happened.BOUNCED_BY_SENDER, sent, sent.key)

    def _open(self, scene: _Scene, sent: Sent) -> datetime:
        """Opens and clicks; returns the time of the last."""
        rng, at = self._rng, sent.at
        while len(sent.opens) < MOST_OPENS:
            at = self._after(at, 30, 20_000 if not sent.opens else 90_000)
            if at >= self._now:
                break
            sent.opens.append(at)
            payload = self._payloads.opened(scene.campaign, scene.enrolment, sent, at)
            self._tell(scene, at, events.EMAIL_OPEN, payload, {sent.key})
            self._note(scene, Happened.OPENED, sent, sent.key)
            if rng.random() >= OPENED_AGAIN_SHARE:
                break
        while sent.opens and len(sent.clicks) < 2 and rng.random() < CLICKED_SHARE:
            at = self._after(sent.opens[-1], 2, 300)
            if at >= self._now:
                break
            sent.clicks.append(at)
            link = f"https://example.com/{rng.choice(('demo', 'prices', 'calendar?slot=1'))}"
            payload = self._payloads.clicked(scene.campaign, scene.enrolment, sent, at, link)
            self._tell(scene, at, events.EMAIL_LINK_CLICK, payload, {sent.key})
            self._note(scene, Happened.CLICKED, sent, sent.key)
        return max([sent.at, *sent.opens, *sent.clicks])

    def _unsubscribe(self, scene: _Scene, sent: Sent, at: datetime) -> None:
        at = self._after(at, 5, 4_000)
        if at >= self._now:
            return
        by_link = self._rng.random() < 0.6
        sent.is_unsubscribed = scene.enrolment.lead.is_unsubscribed = True
        scene.enrolment.status = "STOPPED"
        payload = self._payloads.unsubscribed(scene.campaign, scene.enrolment, sent if by_link else None, at)
        self._tell(scene, at, events.LEAD_UNSUBSCRIBED, payload, {sent.key} if by_link else ())
        self._note(scene, Happened.UNSUBSCRIBED, sent if by_link else None, sent.key if by_link else None)

    def _converse(self, scene: _Scene, sent: Sent, at: datetime) -> None:
        rng, enrolment = self._rng, scene.enrolment
        author, company = enrolment.lead.address, "SameCompany"
        if rng.random() < COLLEAGUE_SHARE:
            author = f"front.desk@{enrolment.lead.domain}"
        for is_threaded in (False, True):
            at = self._after(at, 600, 100_000).replace(microsecond=0)  # a mail server tells whole seconds
            if at >= self._now or (is_threaded and rng.random() >= REPLIED_AGAIN_SHARE):
                break
            if is_threaded and rng.random() < self._answered_by_hand_share:
                self._answer_by_hand(enrolment, sent, at - timedelta(minutes=5))
            reply = self._reply(at, author, company, is_threaded=is_threaded)
            sent.replies.append(reply)
            enrolment.status = "STOPPED"
            payload = self._payloads.replied(scene.campaign, enrolment, sent, reply)
            self._tell(scene, at, events.EMAIL_REPLY, payload, {sent.key, reply.key})
            self._note(scene, Happened.REPLIED, sent, reply.key)
        if not sent.replies:
            return
        for earlier in enrolment.sent[:-1]:
            if earlier.step is not None and rng.random() < 0.3:
                earlier.marked_replied_at = sent.replies[0].at
        if rng.random() < CATEGORIZED_SHARE:
            at = self._after(sent.replies[-1].at, 20, 3_000)
            if at < self._now:
                self._categorize(scene, at, rng.choice((1, 1, 1, 2, 3, 5, 6, 7)))
            if rng.random() < RECATEGORIZED_SHARE and (at := self._after(at, 600, 40_000)) < self._now:
                self._categorize(scene, at, rng.choice((2, 3)))

    def _answer_by_hand(self, enrolment: Enrolment, sent: Sent, at: datetime) -> None:
        """A person's answer from the inbox. No webhook tells it; the message history does."""
        text = f"Hi {enrolment.lead.first_name}, gladly."
        answer = Sent(
            new_uuid(self._rng), None, sent.mailbox, at, f"Re: {sent.subject}".strip(), f"<div>{text}</div>", text
        )
        enrolment.sent.append(answer)

    def _categorize(self, scene: _Scene, at: datetime, new_id: int) -> None:
        enrolment = scene.enrolment
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        old_id, enrolment.category_id = enrolment.category_id, new_id
        payload = self._payloads.categorized(scene.campaign, enrolment, at, old_id=old_id, new_id=new_id)
        told = {sent.key for sent in enrolment.sent if sent.at <= at}
        told |= {reply.key for sent in enrolment.sent for reply in sent.replies if reply.at <= at}
        self._tell(scene, at, events.LEAD_CATEGORY_UPDATED, payload, told)
        steps = [sent for sent in enrolment.sent if sent.step is not None]
        self._note(scene, Happened.CATEGORIZED, steps[-1], None)

    def _reply(self, at: datetime, author: str, company: str, *, is_threaded: bool = False) -> Reply:
        at, words = at.replace(microsecond=0), self._rng.choice(_REPLIES)
        return Reply(
            message_id=f"<CA{self._rng.getrandbits(64):016x}@mail.example.com>",
            at=at,
            text=f"{words}\n",
            html=f'<div dir="ltr">{words}</div><br><div class="gmail_quote">On that day we wrote:</div>\r\n',
            author=author,
            company=company,
            is_threaded=is_threaded,
        )

    def _start(self) -> datetime:
        return self._now - timedelta(seconds=self._rng.randrange(7200, PLAYED_DAYS * 86_400))

    def _after(self, at: datetime, least_seconds: int, most_seconds: int) -> datetime:
        seconds = self._rng.randrange(least_seconds, most_seconds)
        return at + timedelta(seconds=seconds, microseconds=self._rng.randrange(0, 1_000_000))

    def _while_running(self, campaign: Campaign, at: datetime) -> datetime:
        """`at`, or some minutes after the end of the pause it falls into."""
        if campaign.status_at(at) == "ACTIVE":
            return at
        resumed_at = next((since for since, status in campaign.history if since > at and status == "ACTIVE"), at)
        return resumed_at + timedelta(seconds=self._rng.randrange(60, 3600))

    def _tell(
        self,
        scene: _Scene,
        at: datetime,
        event_type: str,
        payload: Payload,
        keys: frozenset[str] | set[str] | tuple[()] = (),
    ) -> None:
        scene.occurrences.append(Occurrence(at, event_type, payload, frozenset(keys)))

    def _note(self, scene: _Scene, what: Happened, sent: Sent | None, message_key: str | None) -> None:
        step = sent.step.number if sent is not None and sent.step is not None else None
        scene.notes.append(Note(what, scene.campaign.external_id, step, scene.enrolment.lead.key, message_key))
