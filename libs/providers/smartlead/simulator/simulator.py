"""One simulated Smartlead account: its state, its book, and the webhooks it would post."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import orjson

from libs import clock
from libs.providers.planning import Telling, make_plan, room_for
from libs.providers.simulation import Plan
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator.journal import Journal
from libs.providers.smartlead.simulator.model import Account, new_uuid, open_account
from libs.providers.smartlead.simulator.payloads import Payload, Payloads, offset_time
from libs.providers.smartlead.simulator.play import Occurrence, Player

# Notices of which only the names are known.
UNKNOWN_TYPES = ("EMAIL_ACCOUNT_DISCONNECTED", "LINKEDIN_DISCONNECTED")


class SmartleadSimulator:
    """An account with one campaign per member of `clients_of_campaigns` (a client's id, or None: the agency's own).

    Everything is decided by `seed` and `now` (the clock's, unless given): mail of the 14 days before `now`.
    `answered_by_hand_share`: how many second replies answer a mail that a person wrote in the inbox, which no webhook tells.
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
    ) -> None:
        rng = random.Random(f"smartlead {seed}")
        now = now or clock.now()
        self.now = now
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
        return make_plan(
            rng,
            [Telling(orjson.dumps(one.payload), one.event_type, one.message_keys) for one in happened],
            repeated=repeated,
            may_repeat=lambda telling: telling.event_type not in events.WITHOUT_TIME,
            withheld=_withheld(rng, happened, withhold),
            unknown=(self._unknown(number) for number in range(unknown)),
            poison=(self._poison(rng, number) for number in range(poison)),
            garbage=garbage,
            shuffle=shuffle,
        )

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


def _withheld(rng: random.Random, happened: list[Occurrence], count: int) -> set[int]:
    """The places of `count` posts without which some message is told by nobody; about a third of them replies."""
    told = Counter(key for occurrence in happened for key in occurrence.message_keys)
    sent: list[int] = []
    replies: list[int] = []
    for index, occurrence in enumerate(happened):
        own = {key for key in occurrence.message_keys if told[key] == 1}
        if occurrence.event_type == events.EMAIL_SENT and own:
            sent.append(index)
        elif occurrence.event_type == events.EMAIL_REPLY and own:
            replies.append(index)
    if len(sent) + len(replies) < count:
        raise ValueError(f"only {len(sent) + len(replies)} posts can be withheld")
    chosen = rng.sample(replies, min(len(replies), count // 3))
    chosen += rng.sample(sent, min(len(sent), count - len(chosen)))
    chosen += [index for index in replies if index not in chosen][: count - len(chosen)]
    return set(chosen)
