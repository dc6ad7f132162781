"""One simulated EmailBison workspace: its state, its book, and the webhooks it would post."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from libs import clock
from libs.providers.emailbison import events
from libs.providers.emailbison.simulator.live import Live
from libs.providers.emailbison.simulator.model import Account, open_account
from libs.providers.emailbison.simulator.payloads import Payload, Payloads, zulu
from libs.providers.emailbison.simulator.play import Occurrence, Player
from libs.providers.mail_journal import Journal
from libs.providers.planning import Telling, make_plan, room_for, told_by_nobody_else
from libs.providers.simulation import Plan, SimulatedClock, WebhookPoster

# Types that the list of events can be filtered by, and that nobody has seen the payload of.
UNKNOWN_TYPES = ("EMAIL_SEND_FAILED", "BLACKLISTED_EMAIL_ADDED")

# Five attempts within a day; how they are spread nobody has measured.
RETRIES_AFTER = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=3), timedelta(hours=20))


class EmailBisonSimulator:
    """A workspace with `campaigns` campaigns.

    Everything is decided by `seed` and `now` (the clock's, unless given): mail of the 14 days before `now`.
    `answered_by_hand_share`: how many second replies answer a mail that a person wrote in the inbox. `tells_automated`
    False: campaigns keep automated replies out of their figures, and then no webhook tells one; the lists do.

    From then on it lives: `advance` lets time pass, campaigns send, leads react (`reactions` multiplies how many; 0: only
    what `live` is told to do), and every change is told to every registration that wants it; `poster` sends it.
    """

    def __init__(
        self,
        *,
        api_key: str = "12|emailbison-simulator-key",
        seed: int = 1,
        now: datetime | None = None,
        campaigns: int = 3,
        answered_by_hand_share: float = 0.0,
        tells_automated: bool = True,
        reactions: float = 0.0,
    ) -> None:
        rng = random.Random(f"emailbison {seed}")
        now = now or clock.now()
        self.clock = SimulatedClock(now)
        self.poster = WebhookPoster(self.clock, retry_after=RETRIES_AFTER)
        self.account: Account = open_account(rng, api_key=api_key, now=now, campaigns=campaigns)
        for campaign in self.account.campaigns:
            campaign.tells_automated = tells_automated
        self.journal = Journal()
        self.log: list[Occurrence] = []  # what GET /api/events tells
        self._payloads = Payloads(self.account)
        self._player = Player(rng, self.account, self.journal, now=now, answered_by_hand_share=answered_by_hand_share)
        self.live = Live(
            random.Random(f"emailbison live {seed}"),
            self.account,
            self.journal,
            self._payloads,
            self.clock,
            self._tell,
            reactions=reactions,
        )

    @property
    def now(self) -> datetime:
        return self.clock.now

    def advance(self, by: timedelta) -> None:
        """Let time pass; `poster.send_due` then posts what happened."""
        self.live.advance(by)

    @property
    def api_key(self) -> str:
        return self.account.api_key

    @property
    def campaign_ids(self) -> list[str]:
        return [campaign.external_id for campaign in self.account.campaigns]

    def play(self, count: int) -> list[Occurrence]:
        """Let `count` more things happen, in order of time; the API and the journal know them at once."""
        happened = sorted(self._player.play(count), key=lambda occurrence: occurrence.at)
        self.log += happened
        return happened

    def deliveries(
        self,
        count: int,
        *,
        duplicates: float = 0.10,
        shuffle: bool = True,
        garbage: int = 0,
        poison: int = 0,
        unknown: int = 0,
        withhold: int = 0,
        seed: int = 1,
    ) -> Plan:
        """Play on, and plan the posts of what happened: `count` posts to send, and `withhold` more that are not.

        Of `count` the share `duplicates` repeats normal posts, byte for byte: a second registration of the URL does that,
        and so does a retry, as no body names its registration. Types without a time are not repeated: no receiver could
        tell such a repetition from a second occurrence. Withheld are EMAIL_SENT and LEAD_REPLIED of messages of which no
        other post tells. Without `shuffle` the order is that of the occurrences, with all else at the end.

        Raises:
            ValueError: `count` is too small for what is asked.
        """
        rng = random.Random(f"deliveries {seed}")
        normal, repeated = room_for(count, duplicates=duplicates, others=garbage + poison + unknown)
        happened = [
            Telling(orjson.dumps(one.payload), one.event_type, one.message_keys) for one in self.play(normal + withhold)
        ]
        return make_plan(
            rng,
            happened,
            repeated=repeated,
            may_repeat=lambda telling: telling.event_type not in events.WITHOUT_TIME,
            withheld=told_by_nobody_else(
                rng, happened, withhold, sending=events.EMAIL_SENT, replying=events.LEAD_REPLIED
            ),
            unknown=[self._unknown(number) for number in range(unknown)],
            poison=[self._poison(number) for number in range(poison)],
            garbage=garbage,
            shuffle=shuffle,
        )

    def _tell(self, event_type: str, payload: Payload, message_keys: frozenset[str]) -> None:
        """One post for each matching registration, all with the same bytes: a body does not name whom it is for."""
        self.log.append(Occurrence(self.now, event_type, payload, message_keys))
        body = orjson.dumps(payload)
        for made in self.account.registrations:
            if events.subscription_id(event_type) in made.event_ids:
                self.poster.tell(made.url, body, event_type=event_type, message_keys=message_keys)

    def _unknown(self, number: int) -> Telling:
        event_type = UNKNOWN_TYPES[number % len(UNKNOWN_TYPES)]
        return Telling(orjson.dumps(self._payloads.unknown(event_type, number)), event_type)

    def _poison(self, number: int) -> Telling:
        """A payload of a known type that cannot mean anything. It speaks of a mail that was never sent."""
        campaign = self.account.campaigns[number % len(self.account.campaigns)]
        event_type, spoil = _POISONS[number % len(_POISONS)]
        data: Payload = {
            "scheduled_email": {
                "id": self.account.new_id("scheduled_emails"),
                "sequence_step_order": 1,
                "sent_at": zulu(self.now),
            },
            "campaign_event": {"id": self.account.new_id("campaign_events"), "created_at": zulu(self.now)},
            "reply": {"id": self.account.new_id("replies"), "date_received": zulu(self.now)},
            "lead": {"id": 1, "email": f"nobody{number}@nowhere.example.com"},
            "campaign": {"id": campaign.id, "name": campaign.name},
            "sender_email": {"id": 1, "email": self.account.mailboxes[0].address},
        }
        payload: Payload = {**self._payloads.unknown(event_type, number), "data": spoil(data)}
        return Telling(orjson.dumps(payload), event_type)


def _block(data: Payload, name: str, **fields: object) -> Payload:
    block = data[name]
    assert isinstance(block, dict)
    return data | {name: block | fields}


_POISONS: tuple[tuple[str, Callable[[Payload], Payload]], ...] = (
    (events.EMAIL_SENT, lambda data: _block(data, "campaign", id={"id": 1})),
    (events.EMAIL_OPENED, lambda data: _block(data, "lead", email="nobody at nowhere")),
    (events.LEAD_REPLIED, lambda data: data | {"reply": [data["reply"]]}),
    (events.LEAD_UNSUBSCRIBED, lambda data: _block(data, "campaign_event", created_at="yesterday")),
    (events.LEAD_REPLIED, lambda data: _block(data, "reply", type="Outgoing Email", folder="Sent")),
)
