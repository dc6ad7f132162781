"""Running campaigns: looking, making, changing, starting, stopping; their sequences and mailboxes."""

from __future__ import annotations

from collections.abc import Sequence

from libs.errors import ContractViolated, ProviderUnavailable, Unsupported
from libs.providers.calls import Answer, NotThere
from libs.providers.fields import Fields
from libs.providers.records import Campaign, CampaignChanges, EmailStep
from libs.providers.smartlead import campaigns
from libs.providers.smartlead.transport import (
    SmartleadApi,
    as_number,
    as_object,
    in_path,
    is_nothing,
    list_of_objects,
    required,
)


class CampaignCalls(SmartleadApi):
    """Campaigns, CampaignEditing, CampaignControl, CampaignStopping and EmailSequences."""

    async def list_campaigns(self) -> Sequence[Campaign]:
        """Every campaign of the account; the provider does not page this list."""
        found = [campaigns.read_campaign(row) for row in list_of_objects(await self._get("/campaigns"), "campaigns")]
        if len({one.external_id for one in found}) != len(found):
            raise ContractViolated("campaigns: one id is listed twice")
        return found

    async def get_campaign(self, campaign_external_id: str) -> Campaign:
        row, _ = await self._campaign(campaign_external_id)
        return campaigns.read_campaign(row)

    async def create_campaign(self, *, name: str, client_external_id: str | None = None) -> str:
        body: dict[str, object] = {"name": name}
        if client_external_id:
            body["client_id"] = as_number(client_external_id, "client_external_id")
        made = await self._write("POST", "/campaigns/create", body)
        return required(made.identifier("id"), "campaign.id")

    async def update_campaign(self, campaign_external_id: str, changes: CampaignChanges) -> None:
        """Up to four writes: schedule, settings, mailboxes to add and to take away. Each sets what it sets whatever was
        there, so all of them may be made again."""
        if changes.name is not None:
            raise Unsupported("Smartlead's API cannot rename a campaign")
        row, _ = await self._campaign(campaign_external_id)
        path = f"/campaigns/{in_path(campaign_external_id)}"
        if (changes.schedule, changes.new_leads_per_day, changes.minutes_between_mails) != (None, None, None):
            await self._write(
                "POST", f"{path}/schedule", campaigns.schedule_to_write(campaigns.read_campaign(row), changes)
            )
        settings = (changes.client_external_id, changes.tracks_opens, changes.tracks_clicks, changes.is_plain_text)
        if settings != (None, None, None, None):
            await self._write("POST", f"{path}/settings", campaigns.settings_to_write(row, changes))
        if changes.sender_external_ids is not None:
            wanted, present = set(changes.sender_external_ids), set(await self.list_senders(campaign_external_id))
            for method, ids in (("POST", wanted - present), ("DELETE", present - wanted)):
                if ids:
                    body = {"email_account_ids": sorted(as_number(one, "sender_external_ids") for one in ids)}
                    await self._write(method, f"{path}/email-accounts", body)

    async def start_campaign(self, campaign_external_id: str) -> None:
        await self._set_status(campaign_external_id, campaigns.START)

    async def pause_campaign(self, campaign_external_id: str) -> None:
        await self._set_status(campaign_external_id, campaigns.PAUSE)

    async def resume_campaign(self, campaign_external_id: str) -> None:
        await self._set_status(campaign_external_id, campaigns.START)

    async def stop_campaign(self, campaign_external_id: str) -> None:
        await self._set_status(campaign_external_id, campaigns.STOP)

    async def list_steps(self, campaign_external_id: str) -> Sequence[EmailStep]:
        rows = await self._sequence(campaign_external_id)
        return sorted((campaigns.read_step(row) for row in rows), key=lambda step: step.number)

    async def replace_steps(self, campaign_external_id: str, steps: Sequence[EmailStep]) -> None:
        """Refused while the campaign is active. How texts are shared out among variants falls back to equal shares: it can
        be written, and is never told."""
        body = {"sequences": [campaigns.step_to_write(step) for step in steps]}
        await self._write("POST", f"/campaigns/{in_path(campaign_external_id)}/sequences", body)

    async def list_senders(self, campaign_external_id: str) -> Sequence[str]:
        """The ids of the mailboxes that the campaign sends from. Nothing else of these rows is kept: they hold passwords."""
        rows = list_of_objects(
            await self._get(f"/campaigns/{in_path(campaign_external_id)}/email-accounts"), "email-accounts"
        )
        return [required(row.identifier("id"), "email-accounts[].id") for row in rows]

    async def _set_status(self, campaign: str, word: str) -> None:
        await self._write("POST", f"/campaigns/{in_path(campaign)}/status", {"status": word})

    async def _campaign(self, campaign: str) -> tuple[Fields, Answer]:
        """Raises: NotThere when the provider says so, be it by silence that its list of campaigns confirms."""
        value, answer = await self._call("GET", f"/campaigns/{in_path(campaign)}")
        if value is None:
            rows = list_of_objects(await self._get("/campaigns"), "campaigns")
            if any(row.identifier("id") == campaign for row in rows):
                raise ProviderUnavailable(f"campaign {campaign}: an empty answer, though it is listed")
        if value is None or is_nothing(value):
            raise NotThere(f"there is no campaign {campaign}")
        found = as_object(value, "campaign")
        if found.identifier("id") != campaign:
            raise ContractViolated("campaign.id is not the one asked for")
        return found, answer

    async def _sequence(self, campaign: str) -> Sequence[Fields]:
        value = await self._get(f"/campaigns/{in_path(campaign)}/sequences")
        if is_nothing(value):
            raise NotThere(f"there is no campaign {campaign}")
        return list_of_objects(value, "sequences")
