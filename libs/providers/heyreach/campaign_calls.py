"""Running campaigns: looking, starting, pausing, going on; their sequences; reading one back."""

from __future__ import annotations

from collections.abc import Sequence

from libs.errors import ContractViolated, CredentialRefused, ProviderRefused, ProviderUnavailable
from libs.providers.calls import Answer, NotThere
from libs.providers.fields import Fields
from libs.providers.heyreach.campaigns import read_campaign, read_status
from libs.providers.heyreach.sequences import node_to_write, read_node
from libs.providers.heyreach.transport import HeyReachApi, as_object, existing
from libs.providers.records import Campaign, LinkedInNode
from libs.providers.sightings import CampaignSighting, Channel, Reading


class CampaignCalls(HeyReachApi):
    """Campaigns, CampaignControl, LinkedInSequences and CampaignPulls."""

    async def list_campaigns(self) -> Sequence[Campaign]:
        return [read_campaign(row) for row in (await self._whole("/campaign/GetAll", "campaigns")).values()]

    async def get_campaign(self, campaign_external_id: str) -> Campaign:
        row, _ = await self._campaign(campaign_external_id)
        return read_campaign(row)

    async def start_campaign(self, campaign_external_id: str) -> None:
        """The status can read DRAFT for some seconds."""
        await self._set(campaign_external_id, "StartCampaign")

    async def pause_campaign(self, campaign_external_id: str) -> None:
        await self._set(campaign_external_id, "Pause")

    async def resume_campaign(self, campaign_external_id: str) -> None:
        """Also one that finished or failed. One without leads rests again within a second."""
        await self._set(campaign_external_id, "Resume")

    async def get_sequence(self, campaign_external_id: str) -> LinkedInNode | None:
        value, _ = await self._read(
            "GET", "/campaign/GetCampaignSequence", params={"campaignId": existing(campaign_external_id)}
        )
        return None if value is None else read_node(as_object(value, "sequence"))

    async def replace_sequence(self, campaign_external_id: str, first: LinkedInNode) -> None:
        """Refused while the campaign runs. What only the provider's own page sets is reset: after how many days a request
        is withdrawn."""
        body = {"campaignId": existing(campaign_external_id), "sequence": node_to_write(first)}
        await self._write("POST", "/campaign/UpdateSequence", json=body)

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign as of the provider's clock at the time of the answer. Of its sequence nothing: no message names a
        step."""
        campaign, answer = await self._campaign(campaign_external_id)
        # A status can be some seconds behind, so the next webhook may know better, and is newer.
        seen_at = answer.answered_at or campaign.moment("creationTime")
        if seen_at is None:
            raise ContractViolated("campaign.creationTime is missing")
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    channel=Channel.LINKEDIN,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                ),
            ),
        )

    async def _set(self, campaign: str, verb: str) -> None:
        # In the query: in the body the provider does not find it.
        await self._write("POST", f"/campaign/{verb}", params={"campaignId": existing(campaign)})

    async def _campaign(self, campaign: str) -> tuple[Fields, Answer]:
        """404 is also the answer for a draft, which only the list shows."""
        try:
            value, answer = await self._read("GET", "/campaign/GetById", params={"campaignId": existing(campaign)})
        except CredentialRefused:
            raise
        except ProviderRefused:  # any other no is repeated there
            return await self._campaign_in_list(campaign)
        if value is None:
            raise ProviderUnavailable(f"campaign {campaign}: an empty answer")
        found = as_object(value, "campaign")
        if found.identifier("id") != campaign:
            raise ContractViolated("campaign.id is not the one asked for")
        return found, answer

    async def _campaign_in_list(self, campaign: str) -> tuple[Fields, Answer]:
        async for row, page in self._rows("/campaign/GetAll", "campaigns"):
            if row.identifier("id") == campaign:
                return row, page.answer
        raise NotThere(f"there is no campaign {campaign}")
