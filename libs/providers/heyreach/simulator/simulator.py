"""One simulated HeyReach workspace: its state, its book, and the webhooks it would post."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from libs import clock
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.journal import Journal
from libs.providers.heyreach.simulator.live import Live
from libs.providers.heyreach.simulator.model import Account, Campaign, open_account
from libs.providers.heyreach.simulator.payloads import Payload, Payloads, whole_seconds
from libs.providers.heyreach.simulator.play import Occurrence, Player
from libs.providers.planning import Telling, make_plan, room_for
from libs.providers.simulation import Plan, SimulatedClock, WebhookPoster

# Five tries more within a day; nobody knows how far apart.
RETRIES_AFTER = tuple(timedelta(hours=hours) for hours in (0.1, 0.9, 3, 8, 12))
# Names without a payload that anybody has seen.
UNKNOWN_TYPES = (events.NEVER_POSTED, "SENDER_DISCONNECTED")


class HeyReachSimulator:
    """A workspace of `campaigns` campaigns (the last finishes, if there are several) and `drafts` more.

    Everything is decided by `seed` and `now` (the clock's, unless given): what happened in the 21 days before `now`.

    From then on it lives: `advance` lets time pass, sequences go on, leads react (`reactions` multiplies how many; 0: only
    what `live` is told to do), and every change is told to whom is registered; `poster` sends it. `chatroom_lag` is how long
    a message is told by webhooks and the list of conversations before its chatroom knows it, `status_lag` how long a
    campaign's status stays as it was after it was set.
    """

    def __init__(
        self,
        *,
        api_key: str = "heyreach-simulator-key",
        seed: int = 1,
        now: datetime | None = None,
        campaigns: int = 3,
        drafts: int = 0,
        reactions: float = 0.0,
        chatroom_lag: timedelta = timedelta(0),
        status_lag: timedelta = timedelta(0),
    ) -> None:
        rng = random.Random(f"heyreach {seed}")
        now = now or clock.now()
        self.clock = SimulatedClock(now)
        self.poster = WebhookPoster(self.clock, retry_after=RETRIES_AFTER)
        self.chatroom_lag = chatroom_lag
        self.account: Account = open_account(rng, api_key=api_key, now=now, campaigns=campaigns, drafts=drafts)
        self.journal = Journal()
        self._payloads = Payloads(random.Random(f"heyreach payloads {seed}"))
        self._player = Player(rng, self.account, self.journal, self._payloads, now=now)
        self.live = Live(
            random.Random(f"heyreach live {seed}"),
            self.account,
            self.journal,
            self._payloads,
            self.clock,
            self._tell,
            reactions=reactions,
            status_lag=status_lag,
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
        """Play on, and plan the posts of what happened: `count` posts to send.

        Of `count` the share `duplicates` repeats normal posts, byte for byte. Where an event type is registered more than
        once, each of its normal posts comes once more for every further registration, beyond `count`: so the real one does.
        Without `shuffle` the order is that of the occurrences, with all else at the end.

        Raises:
            ValueError: `count` is too small for what is asked, or something is to be withheld: no pull could find it.
        """
        if withhold:
            raise ValueError("HeyReach cannot be pulled: what is withheld would be lost for good")
        rng = random.Random(f"deliveries {seed}")
        normal, repeated = room_for(count, duplicates=duplicates, others=garbage + poison + unknown)
        happened = [Telling(orjson.dumps(one.payload), one.event_type, one.message_keys) for one in self.play(normal)]
        registered = Counter(made.event_type for made in self.account.registrations if made.is_active)
        again = [one for one in happened for _ in range(registered[one.event_type] - 1)]
        return make_plan(
            rng,
            happened,
            repeated=repeated,
            may_repeat=lambda _: True,
            withheld=(),
            unknown=(self._unknown(number) for number in range(unknown)),
            poison=(self._poison(number) for number in range(poison)),
            garbage=garbage,
            shuffle=shuffle,
            again=again,
        )

    def _tell(self, campaign: Campaign | None, event_type: str, payload: Payload, message_keys: frozenset[str]) -> None:
        """To every webhook of the type: two of one address are posted to twice, in the very same bytes."""
        body = orjson.dumps(payload)
        for made in self.account.registrations:
            is_heard = not made.campaign_ids or (campaign is not None and campaign.id in made.campaign_ids)
            if made.is_active and made.event_type == event_type and is_heard:
                self.poster.tell(made.url, body, event_type=event_type, message_keys=message_keys)

    def _unknown(self, number: int) -> Telling:
        event_type = UNKNOWN_TYPES[number % len(UNKNOWN_TYPES)]
        at = self.now - timedelta(days=1)
        payload = self._payloads.unknown(event_type, self.account.campaigns[0], number, at)
        return Telling(orjson.dumps(payload), event_type)

    def _poison(self, number: int) -> Telling:
        """A payload of a known type that cannot mean anything, about somebody who was never written to."""
        campaign = self.account.campaigns[number % len(self.account.campaigns)]
        at = whole_seconds(self.now - timedelta(hours=2))
        said = {"creation_time": at, "message": f"Nothing {number}", "is_reply": False}
        payload: Payload = {
            "is_inmail": False,
            "recent_messages": [said],
            "conversation_id": f"2-nowhere{number}==",
            "campaign": {"name": campaign.name, "id": campaign.id, "status": "IN_PROGRESS"},
            "sender": {"id": self.account.senders[0].id, "full_name": self.account.senders[0].name},
            "lead": {"id": "1", "profile_url": f"https://www.linkedin.com/in/nobody-{number}-example"},
            "timestamp": at,
            "correlation_id": f"00000000-0000-4000-8000-{number:012d}",
        }
        spoiled = _POISONS[number % len(_POISONS)](payload)
        event_type = str(spoiled["event_type"])
        return Telling(orjson.dumps(spoiled | {"event_type": event_type.lower()}), event_type)


_POISONS: tuple[Callable[[Payload], Payload], ...] = (
    lambda payload: payload | {"campaign": {"id": {"id": 7}}, "event_type": events.MESSAGE_SENT},
    lambda payload: payload | {"lead": ["nobody"], "event_type": events.VIEWED_PROFILE},
    lambda payload: payload | {"recent_messages": [], "event_type": events.EVERY_MESSAGE_REPLY_RECEIVED},
    lambda payload: payload | {"timestamp": "yesterday", "event_type": events.CONNECTION_REQUEST_ACCEPTED},
    lambda payload: payload | {"conversation_id": None, "event_type": events.INMAIL_SENT},
)
