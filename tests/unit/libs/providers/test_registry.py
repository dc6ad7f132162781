from __future__ import annotations

import httpx
import pytest

from libs.errors import Invalid, Unsupported
from libs.providers.capabilities import (
    CAPABILITIES,
    CampaignPulls,
    Pulls,
    Snapshots,
    WebhookParsing,
    WebhookRegistration,
    require,
)
from libs.providers.effects import WRITES, Effect, writes_of
from libs.providers.registry import PROVIDERS


@pytest.mark.parametrize("name", list(PROVIDERS))
async def test_a_provider_is_what_its_entry_says(name: str) -> None:
    provider = PROVIDERS[name]

    assert provider.name == name
    assert isinstance(provider.webhooks, WebhookParsing)
    assert provider.default_base_url.startswith("https://")
    async with httpx.AsyncClient() as http:
        credentials = dict.fromkeys(provider.credential_fields, "x")
        client = provider.make_client(credentials, provider.default_base_url, http)
        if provider.needs_base_url:
            with pytest.raises(Invalid, match="base_url"):
                provider.make_client(credentials, None, http)
        else:
            assert provider.make_client(credentials, None, http)
        assert isinstance(client, WebhookRegistration)
        assert isinstance(client, CampaignPulls)


@pytest.mark.parametrize("name", ["smartlead", "emailbison"])
async def test_mail_providers_can_all_that_reconciliation_needs(name: str) -> None:
    async with httpx.AsyncClient() as http:
        client = PROVIDERS[name].make_client({"api_key": "x"}, PROVIDERS[name].default_base_url, http)

    assert isinstance(client, Snapshots)
    assert isinstance(client, Pulls)
    assert isinstance(client, WebhookRegistration)
    with pytest.raises(Unsupported, match="WebhookParsing"):
        require(client, WebhookParsing, name)  # type: ignore[type-abstract]


def test_what_a_provider_offers_is_known_without_a_client() -> None:
    offered = {
        capability: {name for name, provider in PROVIDERS.items() if provider.offers(capability)}
        for capability in (Snapshots, Pulls, CampaignPulls, WebhookRegistration, WebhookParsing)
    }

    assert offered[Snapshots] == offered[Pulls] == {"smartlead", "emailbison"}
    assert offered[CampaignPulls] == offered[WebhookRegistration] == set(PROVIDERS)
    assert offered[WebhookParsing] == set()  # that is `webhooks`, not the client


async def test_no_list_of_heyreach_is_the_truth_about_messages() -> None:
    async with httpx.AsyncClient() as http:
        client = PROVIDERS["heyreach"].make_client({"api_key": "x"}, None, http)

    for capability in (Snapshots, Pulls):
        with pytest.raises(Unsupported, match=f"heyreach accounts cannot do this: .* {capability.__name__}"):
            require(client, capability, "heyreach")


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_what_a_provider_does_not_offer_says_why(name: str) -> None:
    provider = PROVIDERS[name]
    missing = {one.__name__ for one in CAPABILITIES if not provider.offers(one)}

    assert set(provider.lacks) == missing
    assert all(len(why) > 20 for why in provider.lacks.values())
    for capability in CAPABILITIES:
        if capability.__name__ in missing:
            with pytest.raises(Unsupported, match=f"{name} accounts offer no {capability.__name__}: .{{20,}}"):
                provider.require(object(), capability)


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_every_write_says_what_can_be_learnt_of_it(name: str) -> None:
    provider = PROVIDERS[name]

    assert set(provider.effects) == writes_of(provider.client)
    assert provider.effects["register_webhook"].may_repeat is provider.may_register_again
    reply = provider.effects.get("reply", Effect(why=""))
    assert (reply.absence_is_proof, reply.may_repeat) == (False, False)  # no message is sent again on a guess
    for effect in provider.effects.values():
        assert len(effect.why) > 20
        assert effect.read_back_after_seconds > 0


def test_the_writes_are_methods_of_their_capabilities() -> None:
    for operation, capability in WRITES.items():
        assert capability in CAPABILITIES
        assert callable(getattr(capability, operation))


def test_a_proof_without_a_look_is_none() -> None:
    with pytest.raises(ValueError, match="look"):
        Effect(why="because", absence_is_proof=True)
