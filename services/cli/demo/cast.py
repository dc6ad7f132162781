"""Who plays in the demo: agencies, and their accounts at simulated providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libs.client.client import OutriderClient
from libs.providers.simulation import Plan, PlannedPost
from services.cli.demo.providers import DemoProvider


@dataclass
class Account:
    """One provider account of the demo, and all that was planned for it."""

    provider: DemoProvider
    simulator: Any  # the provider's: they share the face of SmartleadSimulator
    id: str
    plan: Plan

    def url_for(self, _: PlannedPost) -> str:
        """Where the provider was told to post."""
        return str(self.simulator.account.registrations[-1].url)


@dataclass
class Agency:
    """One organization of the demo."""

    name: str
    client: OutriderClient
    accounts: list[Account]

    def plans(self) -> list[Plan]:
        return [account.plan for account in self.accounts]
