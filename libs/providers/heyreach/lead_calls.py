"""Leads: who is in a campaign, adding, stopping, finding. A lead is named by its profile: member ids differ by list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from libs.errors import Invalid, ProviderUnavailable
from libs.providers.calls import NotThere
from libs.providers.feeds import ListMoved
from libs.providers.fields import Fields
from libs.providers.heyreach import keys
from libs.providers.heyreach.leads import (
    lead_to_write,
    read_added,
    read_campaign_lead,
    read_lead,
    read_profile_of,
    read_state,
)
from libs.providers.heyreach.profiles import profile_url
from libs.providers.heyreach.transport import HeyReachApi, Listed, as_object, existing, required
from libs.providers.records import CampaignLead, LeadRef, LeadsAdded, LeadState, NewLead, Page
from libs.providers.sightings import LeadSighting

LARGEST_BATCH = 100  # the provider's
MOST_PAGES_FOR_A_LEAD = 20  # to learn one lead's state, where the shorter way does not tell it
# Members of a page that the next one tells once more, so that it can be seen whether they were cut from one list.
_OVERLAP = 1
_STEP_BACK = 50


class LeadCalls(HeyReachApi):
    """CampaignLeads, LeadAdding, LeadStopping and Leads."""

    async def list_leads(self, campaign_external_id: str, *, after: str | None = None) -> Page[CampaignLead]:
        """One page, begun with the last row of the page before: rows that were added or taken away meanwhile move that row,
        and it is looked for. Of leads who are to be written to in a far future the provider tells only some.

        Raises:
            ProviderUnavailable: the pages do not make one list; begin again without `after`.
        """
        offset, anchor = _place(after)
        start = max(0, offset - _OVERLAP)
        page = await self._roster(campaign_external_id, start)
        rows = page.rows if anchor is None else _after(page.rows, anchor)
        if rows is None:  # rows before it were taken away
            start = max(0, start - _STEP_BACK)
            page = await self._roster(campaign_external_id, start)
            rows = _after(page.rows, str(anchor))
        end, total = start + len(page.rows), page.total
        if rows is None or (total is not None and (end > total or (not rows and end < total))):
            raise ListMoved(f"campaign {campaign_external_id}: its leads moved while they were listed")
        items = tuple(read_campaign_lead(row, page.answer.answered_at) for row in rows)
        has_more = bool(rows) and (total is None or end < total)
        return Page(items, f"{end}:{_id(rows[-1])}" if has_more else None)

    async def find_campaign_lead(self, campaign_external_id: str, lead: LeadRef) -> CampaignLead | None:
        """By the lead's campaigns, which tell the state; where they say it in a word that we do not know, by the first
        pages of the campaign's leads."""
        profile = keys.profile_of(lead.key)
        async for row, page in self._campaigns_of(profile):
            if row.identifier("campaignId") != campaign_external_id:
                continue
            state = read_state(row, "leadStatus")
            if state is LeadState.UNKNOWN and (found := await self._in_roster(campaign_external_id, profile)):
                return found
            seen_at = page.answer.answered_at
            if seen_at is None:
                raise ProviderUnavailable("an answer without a date")
            sighting = LeadSighting(key=lead.key, seen_at=seen_at, profile_url=profile_url(profile))
            return CampaignLead(lead=sighting, state=state)
        return None

    def largest_batch_of_leads(self) -> int:
        return LARGEST_BATCH

    async def add_leads(self, campaign_external_id: str, leads: Sequence[NewLead]) -> LeadsAdded:
        """A draft refuses them; a paused campaign keeps them waiting; one that finished goes on, whatever is asked."""
        if len(leads) > LARGEST_BATCH:
            raise Invalid(f"{len(leads)} leads at once; HeyReach takes {LARGEST_BATCH}")
        body = {
            "campaignId": existing(campaign_external_id),
            "resumeFinishedCampaign": False,
            "resumePausedCampaign": False,
            "accountLeadPairs": [lead_to_write(lead) for lead in leads],
        }
        answer = await self._write("POST", "/campaign/AddLeadsToCampaignV2", json=body)
        return read_added(as_object(answer, "answer"), len(leads))

    async def stop_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        """A 200 is no proof: the lead may go on all the same, which its state tells."""
        profile = profile_url(keys.profile_of(lead.key))
        body = {"campaignId": existing(campaign_external_id), "leadUrl": profile}
        await self._write("POST", "/campaign/StopLeadInCampaign", json=body)

    async def find_lead(self, lead_key: str) -> LeadSighting | None:
        profile = keys.profile_of(lead_key)
        try:
            value, answer = await self._read("POST", "/lead/GetLead", json={"profileUrl": profile_url(profile)})
        except NotThere:
            return None
        found = as_object(value, "lead")
        if answer.answered_at is None:
            raise ProviderUnavailable("an answer without a date")
        sighting = read_lead(found, "lead", answer.answered_at)
        if sighting.key != lead_key:
            raise found.refuse("profileUrl", "is not the one asked for")
        return sighting

    async def list_campaigns_of_lead(self, lead: LeadRef) -> Sequence[str]:
        rows = [row async for row, _ in self._campaigns_of(keys.profile_of(lead.key))]
        return list(
            dict.fromkeys(required(row.identifier("campaignId"), "campaigns.items[].campaignId") for row in rows)
        )

    def _campaigns_of(self, profile: str) -> AsyncIterator[tuple[Fields, Listed]]:
        return self._rows(
            "/campaign/GetCampaignsForLead", "campaigns", "campaignId", {"profileUrl": profile_url(profile)}
        )

    async def _roster(self, campaign: str, offset: int) -> Listed:
        return await self._listed("/campaign/GetLeadsFromCampaign", "leads", offset, {"campaignId": existing(campaign)})

    async def _in_roster(self, campaign: str, profile: str) -> CampaignLead | None:
        offset = 0
        for _ in range(MOST_PAGES_FOR_A_LEAD):
            page = await self._roster(campaign, offset)
            for row in page.rows:
                if read_profile_of(row.nested("linkedInUserProfile"), "linkedInUserProfile") == profile:
                    return read_campaign_lead(row, page.answer.answered_at)
            offset += len(page.rows)
            if not page.rows or (page.total is not None and offset >= page.total):
                return None
        return None


def _place(after: str | None) -> tuple[int, str | None]:
    if after is None:
        return 0, None
    offset, _, anchor = after.partition(":")
    if not (offset.isascii() and offset.isdigit() and len(offset) < 10 and anchor):
        raise Invalid("this is no place in a list of HeyReach's leads", pointer="after")
    return int(offset), anchor


def _after(rows: Sequence[Fields], anchor: str) -> Sequence[Fields] | None:
    """The rows that follow the one with this id; None when it is not among them."""
    for index, row in enumerate(rows):
        if _id(row) == anchor:
            return rows[index + 1 :]
    return None


def _id(row: Fields) -> str:
    return required(row.identifier("id"), "leads.items[].id")
