"""The providers of this build: one line each is all that a service needs to know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import httpx

from libs.errors import Invalid
from libs.providers.capabilities import WebhookParsing
from libs.providers.emailbison import client as emailbison
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from libs.providers.heyreach import client as heyreach
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.sightings import Channel
from libs.providers.smartlead import client as smartlead
from libs.providers.smartlead.webhooks import SmartleadWebhooks

# Credentials by field name, base URL (None: the provider's own), the connection pool to use -> a client, to be seen
# through libs.providers.capabilities.require.
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
    """

    name: str
    channel: Channel
    webhooks: WebhookParsing
    client: type[object]
    make_client: MakeClient
    default_base_url: str
    credential_fields: tuple[str, ...]
    needs_base_url: bool = False
    has_clients: bool = False
    may_register_again: bool = False

    def offers(self, capability: type[object]) -> bool:
        """Whether accounts of this provider can do it; `capability` is a Protocol of libs.providers.capabilities."""
        return issubclass(self.client, capability)


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
            default_base_url=smartlead.BASE_URL,
            credential_fields=("api_key",),
            has_clients=True,
        ),
        "heyreach": Provider(
            name="heyreach",
            channel=Channel.LINKEDIN,
            webhooks=HeyReachWebhooks(),
            client=heyreach.HeyReachClient,
            make_client=_heyreach_client,
            default_base_url=heyreach.BASE_URL,
            credential_fields=("api_key",),
            may_register_again=True,
        ),
        "emailbison": Provider(
            name="emailbison",
            channel=Channel.EMAIL,
            webhooks=EmailBisonWebhooks(),
            client=emailbison.EmailBisonClient,
            make_client=_emailbison_client,
            default_base_url=emailbison.VENDORS_OWN_URL,
            credential_fields=("api_key",),
            needs_base_url=True,
            may_register_again=True,
        ),
    }
)
