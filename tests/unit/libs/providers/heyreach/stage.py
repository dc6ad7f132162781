"""HeyReach's client and simulator, ready to be played with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import orjson

from libs import clock
from libs.providers.calls import CallPolicy
from libs.providers.heyreach import keys
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.heyreach.simulator.api import HeyReachApp
from libs.providers.heyreach.simulator.model import Campaign, Enrolment, Thread
from libs.providers.records import ConversationRef, LeadRef, NewLead

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
URL = "http://heyreach.example.com/api/public"
HOOK = "https://hooks.example.com/webhooks/heyreach/t0ken"
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
# The calls that change something; all others read, whatever their method.
WRITING = (
    "PATCH /webhooks",
    "DELETE /webhooks",
    "POST /webhooks/CreateWebhook",
    "POST /campaign/StartCampaign",
    "POST /campaign/Pause",
    "POST /campaign/Resume",
    "POST /campaign/UpdateSequence",
    "POST /campaign/AddLeadsToCampaign",
    "POST /campaign/StopLeadInCampaign",
    "POST /inbox/SendMessage",
)


@dataclass
class Stage:
    """One workspace, another beside it that nothing may touch, and who hears the first one's webhooks."""

    simulator: HeyReachSimulator
    another: HeyReachSimulator
    app: HeyReachApp
    http: httpx.AsyncClient
    client: HeyReachClient
    heard: list[dict[str, object]]
    known_webhook: str = ""

    @property
    def campaign(self) -> Campaign:
        return self.simulator.account.campaigns[0]

    @property
    def draft(self) -> Campaign:
        return self.simulator.account.campaigns[-1]

    @property
    def thread(self) -> Thread:
        """One of the first campaign in which the lead answered."""
        threads = self.simulator.account.threads
        ours = (thread for thread in threads if thread.campaign_id == self.campaign.id)
        return next(thread for thread in ours if any(said.is_reply for said in thread.said))

    def enrolment(self, profile_url: str, campaign: Campaign | None = None) -> Enrolment:
        found = (campaign or self.campaign).enrolments.values()
        return next(one for one in found if read_profile(one.lead.profile_url) == read_profile(profile_url))

    def writes(self) -> list[str]:
        return [call for call in self.app.calls if call.startswith(WRITING)]

    async def pass_time(self, by: timedelta) -> list[dict[str, object]]:
        """What is heard meanwhile."""
        before = len(self.heard)
        self.simulator.advance(by)
        await self.simulator.poster.send_due()
        return self.heard[before:]


def make_stage(**simulated: object) -> Stage:
    simulator = HeyReachSimulator(**{"seed": 7, "now": NOW, "drafts": 1, **simulated})  # type: ignore[arg-type]
    another = HeyReachSimulator(seed=8, now=NOW, api_key="another-key")
    app = heyreach_app(simulator, another)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    heard: list[dict[str, object]] = []

    async def send(url: str, body: bytes) -> int:
        heard.append({**orjson.loads(body), "url": url})
        return 200

    simulator.poster.send = send
    client = HeyReachClient(simulator.api_key, URL, http, policy=QUICK)
    return Stage(simulator, another, app, http, client, heard)


def frozen():
    """The date of every answer."""
    return clock.frozen(NOW)


def profile(name: str) -> str:
    return f"https://www.linkedin.com/in/{name}-example"


def person(name: str, **told: object) -> NewLead:
    return NewLead(profile_url=profile(name), first_name=name.title(), last_name="Example", **told)  # type: ignore[arg-type]


def ref(name: str) -> LeadRef:
    return LeadRef(key=keys.lead(f"in/{name}-example"))


def conversation_of(thread: Thread) -> ConversationRef:
    return ConversationRef(
        key=keys.conversation(thread.conversation_id),
        lead=LeadRef(key=thread.lead.key),
        external_id=thread.conversation_id,
        sender_external_id=str(thread.sender.id),
    )
