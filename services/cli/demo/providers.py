"""The simulated providers of the demo, and how each one's book reads in our figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app

CLIENTS = (111, 222)  # the agency's clients at Smartlead, one for each of its companies

# The simulator's word -> the metrics that add up to it, each by total or unique.
Figures = Mapping[str, tuple[tuple[str, str], ...]]

EMAIL: Figures = {
    "sent": (("sent", "total"),),
    "opened": (("opened", "total"),),
    "opened_leads": (("opened", "unique"),),
    "clicked": (("clicked", "total"),),
    "clicked_leads": (("clicked", "unique"),),
    "replied": (("replied", "total"),),
    "replied_leads": (("replied", "unique"),),
    "bounced": (("bounced", "total"),),
    "unsubscribed": (("unsubscribed", "total"),),
}
LINKEDIN: Figures = {
    "sent": (("messages_sent", "total"), ("inmails_sent", "total")),  # the book counts both together
    "replied": (("replied", "total"),),
    "replied_leads": (("replied", "unique"),),
    "connection_requested": (("connection_requests", "total"),),
    "connection_accepted": (("connections_accepted", "total"),),
    "profile_viewed": (("profile_views", "total"),),
    "followed": (("follows", "total"),),
    "liked": (("likes", "total"),),
}


@dataclass(frozen=True, slots=True)
class DemoProvider:
    """`withheld`: how many messages it forgets to report; 0 where only a webhook can tell, so nothing could find them."""

    name: str
    title: str
    channel: str
    path: str  # of the API below the simulator's address
    simulate: Callable[[str, int], Any]
    app: Callable[..., Any]
    withheld: int
    figures: Figures = field(default_factory=lambda: EMAIL)
    has_clients: bool = False


PROVIDERS = (
    DemoProvider(
        "smartlead",
        "Smartlead",
        "email",
        "/api/v1",
        lambda key, seed: SmartleadSimulator(api_key=key, seed=seed, clients_of_campaigns=(None, *CLIENTS)),
        smartlead_app,
        withheld=8,
        has_clients=True,
    ),
    DemoProvider(
        "emailbison",
        "EmailBison",
        "email",
        "",
        lambda key, seed: EmailBisonSimulator(api_key=f"{seed}|{key}", seed=seed),
        emailbison_app,
        withheld=8,
    ),
    DemoProvider(
        "heyreach",
        "HeyReach",
        "linkedin",
        "/api/public",
        lambda key, seed: HeyReachSimulator(api_key=key, seed=seed),
        heyreach_app,
        withheld=0,
        figures=LINKEDIN,
    ),
)
