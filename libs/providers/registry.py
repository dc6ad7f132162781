"""The providers of this build: one line each is all that a service needs to know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import httpx

from libs.errors import Invalid, Unsupported
from libs.providers.capabilities import WebhookParsing
from libs.providers.effects import Effect
from libs.providers.emailbison import client as emailbison
from libs.providers.emailbison import effects as emailbison_effects
from libs.providers.emailbison import figures as emailbison_figures
from libs.providers.emailbison.leads import name_lead as name_emailbison_lead
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from libs.providers.heyreach import client as heyreach
from libs.providers.heyreach import effects as heyreach_effects
from libs.providers.heyreach import figures as heyreach_figures
from libs.providers.heyreach.leads import name_lead as name_heyreach_lead
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.records import Figure, NamedLead, NewLead
from libs.providers.sightings import Channel
from libs.providers.signing import Signing
from libs.providers.smartlead import client as smartlead
from libs.providers.smartlead import effects as smartlead_effects
from libs.providers.smartlead import figures as smartlead_figures
from libs.providers.smartlead.leads import name_lead as name_smartlead_lead
from libs.providers.smartlead.signing import SmartleadSigning
from libs.providers.smartlead.webhooks import SmartleadWebhooks
from libs.providers.tool_servers import ToolServer

T = TypeVar("T")
# Credentials by field name, base URL (None: the provider's own), the connection pool to use -> a client, to be seen
# through Provider.require.
MakeClient = Callable[[Mapping[str, str], str | None, httpx.AsyncClient], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`credential_fields` are the names that an account's credentials must have, all of them secret.

    `client` is the class of what `make_client` makes.
    `has_clients`: an account has sub-accounts, each of which may be a company of its own; without, it is one company's.
    `may_register_again`: a registration looks at what the provider lists for the URL and completes it, so one whose
    answer was lost is made again; without, it is asked about.
    `needs_base_url`: customers have hosts of their own, so an account must name its one and `default_base_url` is only
    the vendor's. To call that one by default would hand it other hosts' keys.
    `calls_per_minute`: what one account may ask, by the provider's own rule or what its clients get by with.
    `effects`: for each writing operation that the client offers what can be learnt of one whose answer was lost.
    `lacks`: why a capability (by its name) is not offered, one sentence for each that is not.
    `name_lead`: by which key, address and profile a lead is known who is added so; for one that may be added.
    `figures`: the counters of a campaign that it tells, by its own names for them; `step_figures`: those it tells by step.
    `signing`: how its deliveries prove that they are its own; None where its documentation and all that was captured know
    no such thing.
    `tools`: its MCP server, where it has one; None also where this installation is not to ask it.
    """

    name: str
    channel: Channel
    webhooks: WebhookParsing
    client: type[object]
    make_client: MakeClient
    default_base_url: str
    credential_fields: tuple[str, ...]
    name_lead: Callable[[NewLead], NamedLead]
    calls_per_minute: int
    needs_base_url: bool = False
    has_clients: bool = False
    may_register_again: bool = False
    effects: Mapping[str, Effect] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[Figure, str] = field(default_factory=dict)
    step_figures: Mapping[Figure, str] = field(default_factory=dict)
    signing: Signing | None = None
    tools: ToolServer | None = None

    def offers(self, capability: type[object]) -> bool:
        """Whether accounts of this provider can do it; `capability` is a Protocol of libs.providers.capabilities."""
        return issubclass(self.client, capability)

    def require(self, client: object, capability: type[T]) -> T:
        """`client` (of this provider) seen as `capability`.

        Raises:
            Unsupported: this provider cannot do it; the message says why.
        """
        if isinstance(client, capability):
            return client
        why = self.lacks.get(capability.__name__, "the provider offers no such thing")
        raise Unsupported(f"{self.name} accounts offer no {capability.__name__}: {why}")


def _smartlead_client(credentials: Mapping[str, str], base_url: str | None, http: httpx.AsyncClient) -> object:
    return smartlead.SmartleadClient(credentials["api_key"], base_url or smartlead.BASE_URL, http)


def _heyreach_client(credentials: Mapping[str, str], base_url: str | None, http: httpx.AsyncClient) -> object:
    return heyreach.HeyReachClient(credentials["api_key"], base_url or heyreach.BASE_URL, http)


def _emailbison_client(credentials: Mapping[str, str], base_url: str | None, http: httpx.AsyncClient) -> object:
    if base_url is None:
        raise Invalid(
            "an EmailBison account needs base_url: the address at which its people log in", pointer="/base_url"
        )
    return emailbison.EmailBisonClient(credentials["api_key"], base_url, http)


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "smartlead": Provider(
            name="smartlead",
            channel=Channel.EMAIL,
            webhooks=SmartleadWebhooks(),
            client=smartlead.SmartleadClient,
            make_client=_smartlead_client,
            name_lead=name_smartlead_lead,
            default_base_url=smartlead.BASE_URL,
            credential_fields=("api_key",),
            calls_per_minute=60,  # sources name 60 to 200; 60 is the lowest
            has_clients=True,
            effects=smartlead_effects.EFFECTS,
            lacks=smartlead_effects.LACKS,
            figures=smartlead_figures.FIGURES,
            step_figures=smartlead_figures.STEP_FIGURES,
            signing=SmartleadSigning(),
        ),
        "heyreach": Provider(
            name="heyreach",
            channel=Channel.LINKEDIN,
            webhooks=HeyReachWebhooks(),
            client=heyreach.HeyReachClient,
            make_client=_heyreach_client,
            name_lead=name_heyreach_lead,
            default_base_url=heyreach.BASE_URL,
            credential_fields=("api_key",),
            calls_per_minute=300,
            may_register_again=True,
            effects=heyreach_effects.EFFECTS,
            lacks=heyreach_effects.LACKS,
            figures=heyreach_figures.FIGURES,
        ),
        "emailbison": Provider(
            name="emailbison",
            channel=Channel.EMAIL,
            webhooks=EmailBisonWebhooks(),
            client=emailbison.EmailBisonClient,
            make_client=_emailbison_client,
            name_lead=name_emailbison_lead,
            default_base_url=emailbison.VENDORS_OWN_URL,
            credential_fields=("api_key",),
            calls_per_minute=3000,
            needs_base_url=True,
            may_register_again=True,
            effects=emailbison_effects.EFFECTS,
            lacks=emailbison_effects.LACKS,
            figures=emailbison_figures.FIGURES,
            step_figures=emailbison_figures.STEP_FIGURES,
            tools=emailbison.TOOLS,
        ),
    }
)
