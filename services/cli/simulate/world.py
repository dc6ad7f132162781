"""The simulated providers side by side: their accounts, their APIs, one time for all, and the webhooks they send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from libs import clock
from libs.errors import Conflict
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.simulation import Send, SimulatedApi
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app

PLAYED = 120  # occurrences that each account begins with: a few campaigns, leads and conversations of the last days
TICK_SECONDS = 0.5

# Shares the face of SmartleadSimulator; what each provider has of its own is its `account` and its `live`.
Simulator = Any


@dataclass(frozen=True, slots=True)
class Kind:
    """`api_path` is where the API lies below the provider's name; `calls_per_minute` what the provider allows a key."""

    title: str
    api_path: str
    key: str
    how_to_log_in: str
    calls_per_minute: int
    simulate: Callable[..., Simulator]
    app: Callable[..., Any]


KINDS: Mapping[str, Kind] = {
    "smartlead": Kind(
        "Smartlead", "/api/v1", "smartlead-simulator-key", "?api_key=KEY", 60, SmartleadSimulator, smartlead_app
    ),
    "heyreach": Kind(
        "HeyReach", "/api/public", "heyreach-simulator-key", "X-API-KEY: KEY", 300, HeyReachSimulator, heyreach_app
    ),
    "emailbison": Kind(
        "EmailBison",
        "/api",
        "12|emailbison-simulator-key",
        "Authorization: Bearer KEY",
        3000,
        EmailBisonSimulator,
        emailbison_app,
    ),
}


@dataclass(slots=True)
class SimulatedProvider:
    """One provider: its API, and an account for each key."""

    name: str
    kind: Kind
    root: str  # http://127.0.0.1:8100/smartlead
    app: Any
    simulators: dict[str, Simulator] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return self.root + self.kind.api_path

    @property
    def api(self) -> SimulatedApi:
        found: SimulatedApi = self.app
        return found


class World:
    """`now` is the same for all, and moves by `advance` alone. `send` posts a webhook; `holds_webhooks`: not before
    somebody asks for it by `send_due`.

    `reactions` multiplies how many leads react by themselves; `seed` decides all else.
    """

    def __init__(
        self,
        url: str,
        send: Send,
        *,
        seed: int = 1,
        reactions: float = 1.0,
        limited: bool = True,
        holds_webhooks: bool = False,
    ) -> None:
        self._send = send
        self._seed = seed
        self._reactions = reactions
        self.holds_webhooks = holds_webhooks
        self.now: datetime = clock.now()
        self._sending = asyncio.Lock()
        self._changed = asyncio.Event()
        self.providers = {
            name: SimulatedProvider(
                name, kind, f"{url}/{name}", kind.app(calls_per_minute=kind.calls_per_minute if limited else None)
            )
            for name, kind in KINDS.items()
        }
        for provider in self.providers.values():
            self.open_account(provider, provider.kind.key, seed)

    def open_account(self, provider: SimulatedProvider, key: str, seed: int | None = None) -> Simulator:
        """One more account, with a history of its own.

        Raises:
            Conflict: there is one with this key.
        """
        if key in provider.simulators:
            raise Conflict(f"{provider.kind.title} has an account with this key")
        made = provider.kind.simulate(
            api_key=key,
            seed=seed if seed is not None else self._seed + len(provider.simulators),
            now=self.now,
            reactions=self._reactions,
        )
        if provider.name == "emailbison":
            made.account.instance_url = provider.root  # its pages link to each other
        made.play(PLAYED)
        made.poster.send = self._send
        provider.simulators[key] = made
        provider.app.add(made)
        return made

    def simulators(self) -> Iterator[Simulator]:
        for provider in self.providers.values():
            yield from provider.simulators.values()

    def advance(self, by: timedelta) -> None:
        """Let everything happen that is due until then."""
        for simulator in self.simulators():
            simulator.advance(by)
        self.now += by
        self.changed()

    def changed(self) -> None:
        """Somebody did something: there may be webhooks to send."""
        self._changed.set()

    async def send_due(self) -> int:
        """Send what is due by now; answers how many posts were made, heard or not."""
        async with self._sending:  # else two would send the same
            return sum([await simulator.poster.send_due() for simulator in self.simulators()])

    async def live(self, *, speed: float) -> None:
        """Until cancelled: time passes `speed` times as fast as here, and what changes is told."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_all())
            if speed:
                group.create_task(self._pass_time(speed))

    async def _tell_all(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self.holds_webhooks:
                await self.send_due()

    async def _pass_time(self, speed: float) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            self.advance(timedelta(seconds=(now - last) * speed))
            last = now
