"""Smartlead's client and simulator, ready to be played with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import orjson

from libs import clock
from libs.providers.calls import CallPolicy
from libs.providers.smartlead.client import SmartleadClient
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator.api import SmartleadApp
from libs.providers.smartlead.simulator.model import Campaign, Enrolment

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
URL = "http://smartlead.example.com/api/v1"
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)


@dataclass
class Stage:
    """One account, another beside it that nothing may touch, and who hears the first one's webhooks."""

    simulator: SmartleadSimulator
    another: SmartleadSimulator
    app: SmartleadApp
    http: httpx.AsyncClient
    client: SmartleadClient
    heard: list[dict[str, object]]
    known_webhook: str = ""

    @property
    def campaign(self) -> Campaign:
        return self.simulator.account.campaigns[0]

    def enrolment(self, address: str, campaign: str | None = None) -> Enrolment:
        found = self.simulator.account.campaign(campaign) if campaign else self.campaign
        assert found is not None
        return next(one for one in found.enrolments if one.lead.address == address)

    async def pass_time(self, by: timedelta) -> list[dict[str, object]]:
        """What is heard meanwhile."""
        before = len(self.heard)
        self.simulator.advance(by)
        await self.simulator.poster.send_due()
        return self.heard[before:]


def make_stage(**simulated: object) -> Stage:
    simulator = SmartleadSimulator(**{"seed": 7, "now": NOW, **simulated})  # type: ignore[arg-type]
    another = SmartleadSimulator(seed=8, now=NOW, api_key="another-key")
    app = smartlead_app(simulator, another)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    heard: list[dict[str, object]] = []

    async def send(url: str, body: bytes) -> int:
        heard.append({**orjson.loads(body), "url": url})
        return 200

    simulator.poster.send = send
    client = SmartleadClient(simulator.api_key, URL, http, policy=QUICK)
    return Stage(simulator, another, app, http, client, heard)


def frozen():
    """The date of every answer."""
    return clock.frozen(NOW)
