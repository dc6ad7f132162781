"""A company's life at its providers, with its canary in every name, address, subject and text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.heyreach.simulator import play as linkedin
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator import play as mail
from tests.security.stack import Network, Stack

POSTS = 24  # enough for replies, and so for conversations, with these seeds


class Providers:
    """Simulated Smartlead and HeyReach for all companies; accounts are told apart by their keys."""

    def __init__(self, network: Network) -> None:
        self._mail, self._linkedin = smartlead_app(), heyreach_app()
        self.urls = {
            "smartlead": network.serve(self._mail) + "/api/v1",
            "heyreach": network.serve(self._linkedin) + "/api/public",
        }
        self._opened = 0

    def open(self, provider: str, canary: str) -> Any:
        """A simulator whose campaigns are called after the canary."""
        self._opened += 1
        simulator: Any
        if provider == "smartlead":
            simulator = SmartleadSimulator(api_key=f"mail-{canary}", seed=self._opened, clients_of_campaigns=(None,))
            self._mail.add(simulator)
            for campaign in simulator.account.campaigns:
                for step in campaign.steps:
                    step.subject, step.body = f"{canary} subject", f"<div>{canary} text {step.number}</div>"
        else:
            simulator = HeyReachSimulator(api_key=f"linkedin-{canary}", seed=self._opened, campaigns=1)
            self._linkedin.add(simulator)
            for campaign in simulator.account.campaigns:
                campaign.texts = tuple(f"{canary}: {text}" for text in campaign.texts)
        for campaign in simulator.account.campaigns:
            campaign.name = f"{canary} campaign"
        return simulator

    def account(self, provider: str, canary: str, company: str) -> dict[str, Any]:
        """The body with which an account of such a simulator is opened."""
        key = ("mail-" if provider == "smartlead" else "linkedin-") + canary
        return {
            "provider": provider,
            "name": f"{canary} {provider}",
            "company_id": company,
            "base_url": self.urls[provider],
            "credentials": {"api_key": key},
        }


@contextmanager
def people_called(canary: str) -> Iterator[None]:
    """Whom simulators invent inside the block bears the canary as name, company and address."""

    def renamed(make: Any) -> Any:
        def new_lead(rng: Any, account: Any, **more: Any) -> Any:
            lead = make(rng, account, **more)
            lead.last_name = lead.company_name = canary
            if isinstance(account.leads, dict):  # of Smartlead: by address
                del account.leads[lead.address]
                lead.address = f"{lead.first_name}{len(account.leads)}@{canary}.example.com".lower()
                account.leads[lead.address] = lead
            else:
                lead.profile_url = f"https://www.linkedin.com/in/{canary}-{len(account.leads)}-example"
            return lead

        return new_lead

    with pytest.MonkeyPatch.context() as patch:
        for play in (mail, linkedin):
            patch.setattr(play, "new_lead", renamed(play.new_lead))
            patch.setattr(play, "_REPLIES", (f"{canary} answers",))
        patch.setattr(mail, "REPLIED_SHARE", 0.6)
        patch.setattr(linkedin, "REPLIED_SHARE", 0.6)
        yield


async def play(stack: Stack, simulator: Any, canary: str) -> None:
    """Let things happen at the provider and post them to the door; two mails are told by no webhook."""
    more = {"withhold": 2, "poison": 1} if isinstance(simulator, SmartleadSimulator) else {}
    with people_called(canary):
        plan = simulator.deliveries(POSTS, duplicates=0.0, **more)
    url = simulator.account.registrations[0].url
    for post in plan.to_send():
        answer = await stack.post(url, post.body)
        assert answer.status_code == 200, answer.text
