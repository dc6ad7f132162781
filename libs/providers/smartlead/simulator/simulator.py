"""One simulated Smartlead account: its state, its book, and the webhooks it would post."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from libs import clock
from libs.providers.planning import Telling, make_plan, room_for, told_by_nobody_else
from libs.providers.simulation import Plan, SimulatedClock, WebhookPoster
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator.casting import new_uuid, open_account
from libs.providers.smartlead.simulator.journal import Journal
from libs.providers.smartlead.simulator.live import Live
from libs.providers.smartlead.simulator.model import Account, Campaign, Registration
from libs.providers.smartlead.simulator.payloads import Payload, Payloads, offset_time, zulu_time
from libs.providers.smartlead.simulator.play import Occurrence, Player

# Notices of which only the names are known.
UNKNOWN_TYPES = ("EMAIL_ACCOUNT_DISCONNECTED", "LINKEDIN_DISCONNECTED")
# Three tries more, further and further apart: the documents contradict each other, and nobody has measured.
RETRIES_AFTER = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))


class SmartleadSimulator:
    """An account with one campaign per member of `clients_of_campaigns` (a client's id, or None: the agency's own).

    Everything is decided by `seed` and `now` (the clock's, unless given): mail of the 14 days before `now`.
    `answered_by_hand_share`: how many second replies answer a mail that a person wrote in the inbox, which no webhook tells.

    From then on it lives: `advance` lets time pass, campaigns send, leads react (`reactions` multiplies how many; 0: only
    what `live` is told to do), and every change is told to whom is registered; `poster` sends it. `history_lag` is how long
    a reply is told by webhooks before histories know it. `user_hook_wins`: an account's webhook silences those of clients
    and campaigns, as most sources say; without, all of them are posted to.
    """

    def __init__(
        self,
        *,
        api_key: str = "smartlead-simulator-key",
        seed: int = 1,
        now: datetime | None = None,
        clients_of_campaigns: tuple[int | None, ...] = (None, 111, 222),
        answered_by_hand_share: float = 0.0,
        webhook_url: str = "https://hooks.example.com/smartlead",
        reactions: float = 0.0,
        history_lag: timedelta = timedelta(0),
        user_hook_wins: bool = True,
    ) -> None:
        rng = random.Random(f"smartlead {seed}")
        now = now or clock.now()
        self.clock = SimulatedClock(now)
        self.poster = WebhookPoster(self.clock, retry_after=RETRIES_AFTER)
        self.history_lag = history_lag
        self._user_hook_wins = user_hook_wins
        self.account: Account = open_account(rng, api_key=api_key, now=now, clients_of_campaigns=clients_of_campaigns)
        self.journal = Journal()
        self._payloads = Payloads(self.account, webhook_url=webhook_url)
        self._player = Player(
            rng,
            self.account,
            self.journal,
            self._payloads,
            now=now,
            answered_by_hand_share=answered_by_hand_share,
        )

        self.live = Live(
            random.Random(f"smartlead live {seed}"),
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
        return sorted(self._player.play(count), key=lambda occurrence: occurrence.at)

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

        Of `count` the share `duplicates` repeats normal posts, byte for byte. Types without a time are not repeated: no
        receiver could tell such a repetition from a second occurrence. Withheld are EMAIL_SENT and EMAIL_REPLY of messages
        of which no other post tells. Without `shuffle` the order is that of the occurrences, with all else at the end.

        Raises:
            ValueError: `count` is too small for what is asked.
        """
        rng = random.Random(f"deliveries {seed}")
        normal, repeated = room_for(count, duplicates=duplicates, others=garbage + poison + unknown)
        happened = self.play(normal + withhold)
        tellings = [Telling(orjson.dumps(one.payload), one.event_type, one.message_keys) for one in happened]
        return make_plan(
            rng,
            tellings,
            repeated=repeated,
            may_repeat=lambda telling: telling.event_type not in events.WITHOUT_TIME,
            withheld=told_by_nobody_else(
                rng, tellings, withhold, sending=events.EMAIL_SENT, replying=events.EMAIL_REPLY
            ),
            unknown=(self._unknown(number) for number in range(unknown)),
            poison=(self._poison(rng, number) for number in range(poison)),
            garbage=garbage,
            shuffle=shuffle,
        )

    def _tell(self, campaign: Campaign | None, event_type: str, payload: Payload, message_keys: frozenset[str]) -> None:
        for made in self._listening(campaign):
            if event_type not in made.event_types:
                continue
            category = payload.get("lead_category_id")
            if event_type == events.LEAD_CATEGORY_UPDATED and category not in made.categories:
                continue
            body = payload | {
                "metadata": {"webhook_created_at": zulu_time(made.created_at)},
                "webhook_url": made.url,
                "webhook_id": made.id,
                "webhook_name": made.name,
            }
            self.poster.tell(made.url, orjson.dumps(body), event_type=event_type, message_keys=message_keys)

    def _listening(self, campaign: Campaign | None) -> list[Registration]:
        everyone = self.account.registrations
        users = [made for made in everyone if made.scope == "user"]
        if campaign is None or (users and self._user_hook_wins):
            return users
        of_client = [
            made for made in everyone if made.scope == "client" and made.client_id == campaign.client_id is not None
        ]
        of_campaign = [made for made in everyone if made.scope == "campaign" and made.campaign_id == campaign.id]
        return users + of_client + of_campaign

    def _unknown(self, number: int) -> Telling:
        event_type = UNKNOWN_TYPES[number % len(UNKNOWN_TYPES)]
        return Telling(orjson.dumps(self._payloads.unknown(event_type, number)), event_type)

    def _poison(self, rng: random.Random, number: int) -> Telling:
        """A payload of a known type that cannot mean anything. It speaks of a mail that was never sent."""
        campaign = self.account.campaigns[number % len(self.account.campaigns)]
        stats_id, mailbox = new_uuid(rng), self.account.mailboxes[0].address
        payload: Payload = {
            "sl_email_lead_id": "4155000001",
            "sl_email_lead_map_id": 3375000001,
            "campaign_status": "ACTIVE",
            "client_id": campaign.client_id,
            "stats_id": stats_id,
            "from_email": mailbox,
            "to_email": f"nobody{number}@nowhere.example.com",
            "to_name": "Nobody",
            "event_timestamp": offset_time(self.now),
            "campaign_name": campaign.name,
            "campaign_id": campaign.id,
            "sequence_number": 1,
            "subject": "Dock slots",
            "sent_message": {"message_id": f"<{stats_id}@reach.example.com>", "html": "", "text": "", "time": None},
        }
        spoiled = _POISONS[number % len(_POISONS)](payload)
        return Telling(orjson.dumps(spoiled), str(spoiled["event_type"]))


def _bounce_that_is_none(payload: Payload) -> Payload:
    return payload | {"is_bounced": False, "is_sender_originated_bounce": False, "event_type": events.EMAIL_BOUNCE}


_POISONS: tuple[Callable[[Payload], Payload], ...] = (
    lambda payload: payload | {"campaign_id": {"id": payload["campaign_id"]}, "event_type": events.EMAIL_SENT},
    lambda payload: payload | {"to_email": "nobody at nowhere", "event_type": events.EMAIL_OPEN},
    lambda payload: payload | {"reply_message": ["Tell me more"], "event_type": events.EMAIL_REPLY},
    lambda payload: payload | {"event_timestamp": "yesterday", "event_type": events.EMAIL_LINK_CLICK},
    _bounce_that_is_none,
)
