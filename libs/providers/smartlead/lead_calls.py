"""Leads: who is in a campaign, adding, pausing, removing, never writing again, sorting by what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.errors import ContractViolated, Invalid
from libs.providers.calls import NotThere
from libs.providers.feeds import ListMoved
from libs.providers.fields import Fields
from libs.providers.records import CampaignLead, LeadRef, LeadsAdded, LeadState, NewLead, Page
from libs.providers.sightings import LeadSighting
from libs.providers.smartlead import keys
from libs.providers.smartlead.leads import KnownLead, lead_to_write, read_added, read_lead, read_state
from libs.providers.smartlead.transport import (
    SmartleadApi,
    as_object,
    count,
    in_path,
    is_nothing,
    list_of_objects,
    required,
)

ROSTER_PAGE = 100  # the provider's cap
LARGEST_BATCH = 100  # 400 by the newest sources, 350 and 100 by older ones: this one passes with all of them
MOST_PAGES_FOR_A_LEAD = 20  # a third of a minute's budget to learn one lead's state, and no more
# Members of a page that the next one tells once more, so that it can be seen whether they were cut from one list.
_OVERLAP = 1
_STEP_BACK = 50


@dataclass(frozen=True, slots=True)
class _Roster:
    rows: Sequence[Fields]
    total: int
    answered_at: datetime | None


class LeadCalls(SmartleadApi):
    """CampaignLeads, LeadAdding, LeadPausing, LeadRemoving, Leads, LeadUnsubscribing and LeadCategories."""

    _categories_known: Mapping[str, str] | None = None

    async def list_leads(self, campaign_external_id: str, *, after: str | None = None) -> Page[CampaignLead]:
        """One page of the roster. It begins with the last row of the page before: rows that were added or taken away
        meanwhile move that row, and it is looked for; a roster in which it is gone is to be begun anew.

        Raises:
            ProviderUnavailable: the pages do not make one list; begin again without `after`.
        """
        return await self._leads_page(campaign_external_id, after, {})

    async def _leads_page(
        self, campaign_external_id: str, after: str | None, filters: Mapping[str, str]
    ) -> Page[CampaignLead]:
        offset, anchor = _place(after)
        start = max(0, offset - _OVERLAP)
        page = await self._roster(campaign_external_id, start, filters)
        rows = page.rows if anchor is None else _after(page.rows, anchor)
        if rows is None:  # rows before it were taken away
            start = max(0, start - _STEP_BACK)
            page = await self._roster(campaign_external_id, start, filters)
            rows = _after(page.rows, str(anchor))
        end = start + len(page.rows)
        if rows is None or end > page.total or (not rows and end < page.total):
            raise ListMoved(f"campaign {campaign_external_id}: its leads moved while they were listed")
        names = await self._category_names() if any(row.identifier("lead_category_id") for row in rows) else {}
        items = tuple(_campaign_lead(row, names, page.answered_at) for row in rows)
        return Page(items, f"{end}:{_map_id(rows[-1])}" if end < page.total else None)

    async def find_campaign_lead(self, campaign_external_id: str, lead: LeadRef) -> CampaignLead | None:
        """The search by address tells whether a lead is in the campaign, the roster alone in what state: its pages are read
        until the lead is found, but not more than MOST_PAGES_FOR_A_LEAD; then the state is UNKNOWN."""
        known = await self._lead(keys.address_of(lead.key))
        enrolment = known.enrolment(campaign_external_id) if known is not None else None
        if known is None or enrolment is None:
            return None
        map_id = enrolment.identifier("campaign_lead_map_id")
        found = await self._in_roster(campaign_external_id, map_id) if map_id is not None else None
        category = enrolment.identifier("lead_category_id")
        names = await self._category_names() if category else {}
        return CampaignLead(
            lead=known.as_sighting(keys.address_of(lead.key)),
            state=read_state(found) if found is not None else LeadState.UNKNOWN,
            added_at=found.moment("created_at") if found is not None else None,
            category=names.get(category) if category else "",
            enrolment_external_id=map_id,
            is_unsubscribed=known.fields.flag("is_unsubscribed"),
        )

    def largest_batch_of_leads(self) -> int:
        return LARGEST_BATCH

    async def add_leads(self, campaign_external_id: str, leads: Sequence[NewLead]) -> LeadsAdded:
        if len(leads) > LARGEST_BATCH:
            raise Invalid(f"{len(leads)} leads at once; Smartlead takes {LARGEST_BATCH}")
        body = {
            "lead_list": [lead_to_write(lead) for lead in leads],
            # All lists of people who should be left alone are respected.
            "settings": {
                "ignore_global_block_list": False,
                "ignore_unsubscribe_list": False,
                "ignore_community_bounce_list": False,
                "ignore_duplicate_leads_in_other_campaign": False,
            },
        }
        return read_added(await self._write("POST", f"/campaigns/{in_path(campaign_external_id)}/leads", body))

    async def pause_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        await self._write(
            "POST", f"/campaigns/{in_path(campaign_external_id)}/leads/{in_path(await self._id_of(lead))}/pause", {}
        )

    async def resume_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        await self._write(
            "POST", f"/campaigns/{in_path(campaign_external_id)}/leads/{in_path(await self._id_of(lead))}/resume", {}
        )

    async def remove_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        await self._write(
            "DELETE", f"/campaigns/{in_path(campaign_external_id)}/leads/{in_path(await self._id_of(lead))}"
        )

    async def find_lead(self, lead_key: str) -> LeadSighting | None:
        address = keys.address_of(lead_key)
        known = await self._lead(address)
        return None if known is None else known.as_sighting(address)

    async def list_campaigns_of_lead(self, lead: LeadRef) -> Sequence[str]:
        known = await self._lead(keys.address_of(lead.key))
        if known is None:
            raise NotThere("there is no such lead")
        rows = known.fields.rows("lead_campaign_data")
        return [required(row.identifier("campaign_id"), "lead.lead_campaign_data[].campaign_id") for row in rows]

    async def unsubscribe_lead(self, lead: LeadRef) -> None:
        await self._write("POST", f"/leads/{in_path(await self._id_of(lead))}/unsubscribe", {})

    async def list_categories(self) -> Sequence[str]:
        return list((await self._category_names()).values())

    async def categorize_lead(self, campaign_external_id: str, lead: LeadRef, category: str | None) -> None:
        """By name, as the ids of an account's own categories are its own. Leads go on being written to."""
        body: dict[str, object] = {"category_id": None, "pause_lead": False}
        if category is not None:
            names = await self._category_names()
            found = next((number for number, name in names.items() if name == category), None)
            if found is None:
                raise Invalid(f"this Smartlead account has no lead category {category!r}")
            body["category_id"] = int(found)
        await self._write(
            "POST",
            f"/campaigns/{in_path(campaign_external_id)}/leads/{in_path(await self._id_of(lead))}/category",
            body,
        )

    async def is_unsubscribed(self, lead: LeadRef) -> bool:
        known = await self._lead(keys.address_of(lead.key))
        return known is not None and known.fields.flag("is_unsubscribed") is True

    async def category_of(self, campaign_external_id: str, lead: LeadRef) -> str | None:
        """None without one; also when the lead is not in the campaign."""
        known = await self._lead(keys.address_of(lead.key))
        enrolment = known.enrolment(campaign_external_id) if known is not None else None
        number = enrolment.identifier("lead_category_id") if enrolment is not None else None
        return (await self._category_names()).get(number, f"no. {number}") if number is not None else None

    async def _id_of(self, lead: LeadRef) -> str:
        if lead.external_id is not None:
            return lead.external_id
        known = await self._lead(keys.address_of(lead.key))
        if known is None:
            raise NotThere("there is no such lead")
        return known.id

    async def _lead(self, address: str) -> KnownLead | None:
        """None for `{}`; nothing at all is no answer."""
        value, answer = await self._call("GET", "/leads/", {"email": address})
        if is_nothing(value):
            return None
        fields = as_object(value, "lead")
        told = fields.address("email")
        if told is not None and told != address:
            raise ContractViolated("lead.email is not the one asked for")
        return KnownLead(required(fields.identifier("id"), "lead.id"), fields, answer.answered_at)

    async def _roster(self, campaign: str, offset: int, filters: Mapping[str, str] = {}) -> _Roster:
        params: dict[str, str | int] = {**filters, "offset": offset, "limit": ROSTER_PAGE}
        value, answer = await self._call("GET", f"/campaigns/{in_path(campaign)}/leads", params)
        if is_nothing(value):
            raise NotThere(f"there is no campaign {campaign}")
        page = as_object(value, "leads")
        if not page.states("data") or not page.states("total_leads"):
            raise ContractViolated("leads.data or leads.total_leads is missing")
        told = page.identifier("offset")
        if told is not None and told != str(offset):
            raise ListMoved(f"campaign {campaign}: another page of leads than the one asked for")
        return _Roster(page.rows("data"), count(page, "total_leads"), answer.answered_at)

    async def _in_roster(self, campaign: str, map_id: str) -> Fields | None:
        offset = 0
        for _ in range(MOST_PAGES_FOR_A_LEAD):
            page = await self._roster(campaign, offset)
            found = next((row for row in page.rows if _map_id(row) == map_id), None)
            offset += len(page.rows)
            if found is not None or not page.rows or offset >= page.total:
                return found
        return None

    async def _category_names(self) -> Mapping[str, str]:
        """By id. Asked for once in a client's life, which is that of one job."""
        if self._categories_known is None:
            rows = list_of_objects(await self._get("/leads/fetch-categories"), "categories")
            self._categories_known = {
                required(row.identifier("id"), "categories[].id"): required(row.filled("name"), "categories[].name")
                for row in rows
            }
        return self._categories_known


def _place(after: str | None) -> tuple[int, str | None]:
    if after is None:
        return 0, None
    offset, _, anchor = after.partition(":")
    if not (offset.isascii() and offset.isdigit() and anchor):
        raise Invalid("this is no place in a list of Smartlead's leads", pointer="after")
    return int(offset), anchor


def _after(rows: Sequence[Fields], anchor: str) -> Sequence[Fields] | None:
    """The rows that follow the one with this id; None when it is not among them."""
    for index, row in enumerate(rows):
        if _map_id(row) == anchor:
            return rows[index + 1 :]
    return None


def _version(answered_at: datetime | None, row: Fields, name: str) -> datetime:
    """How fresh the answer is, by the provider's clock: a lead as of its making may fill gaps and overrides nothing."""
    found = answered_at or row.moment("created_at")
    if found is None:
        raise ContractViolated(f"{name} is missing")
    return found


def _map_id(row: Fields) -> str:
    return required(row.identifier("campaign_lead_map_id"), "leads.data[].campaign_lead_map_id")


def _campaign_lead(row: Fields, names: Mapping[str, str], answered_at: datetime | None) -> CampaignLead:
    told = row.nested("lead")
    address = required(told.address("email"), "leads.data[].lead.email")
    category = row.identifier("lead_category_id")
    return CampaignLead(
        lead=read_lead(
            told,
            required(told.identifier("id"), "leads.data[].lead.id"),
            address,
            _version(answered_at, row, "leads.data[].created_at"),
        ),
        state=read_state(row),
        added_at=row.moment("created_at"),
        category=names.get(category) if category else "",
        enrolment_external_id=_map_id(row),
        is_unsubscribed=told.flag("is_unsubscribed"),
    )
