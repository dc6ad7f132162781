"""Leads: who is in a campaign, adding, stopping, removing, never writing again, and what their answers were judged to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from libs.errors import ContractViolated, Invalid, ProviderRefused, Unsupported
from libs.providers.calls import NotThere
from libs.providers.emailbison import inbox, keys, pages
from libs.providers.emailbison import leads as people
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.story import kind_of, lead_sighting
from libs.providers.emailbison.transport import (
    EmailBisonApi,
    as_number,
    as_object,
    data_of,
    in_path,
    is_route,
    required,
)
from libs.providers.emailbison.webhooks import INTERESTED
from libs.providers.fields import Fields, read_address
from libs.providers.records import Addition, CampaignLead, LeadAddition, LeadRef, LeadsAdded, NewLead, Page
from libs.providers.sightings import LeadSighting

LARGEST_BATCH = 100  # 500 are taken; an attachment of 1,000 was seen to last two minutes, longer than a call may here
_NOBODY_ADDED = "No leads were added"
_KNOWN_ALREADY = "already been taken"


class LeadCalls(EmailBisonApi):
    """CampaignLeads, LeadAdding, LeadStopping, LeadRemoving, Leads, LeadUnsubscribing and LeadCategories."""

    async def list_leads(self, campaign_external_id: str, *, after: str | None = None) -> Page[CampaignLead]:
        path = f"/campaigns/{in_path(campaign_external_id)}/leads"

        answered_at: datetime | None = None

        async def get(page: pages.Params) -> object:
            nonlocal answered_at
            value, answer = await self._call("GET", path, page)
            answered_at = answer.answered_at
            return value

        rows, following = await pages.read_page(get, "leads", after)
        found = []
        for row in rows:
            enrolment = people.enrolment_in(row, campaign_external_id)
            if enrolment is None:
                told = people.enrolments_of(row)
                # The documents' single object need not name the campaign that was asked for.
                enrolment = told[0] if len(told) == 1 and not told[0].states("campaign_id") else Fields({})
            found.append(people.as_campaign_lead(row, enrolment, answered_at))
        return Page(tuple(found), following)

    async def find_campaign_lead(self, campaign_external_id: str, lead: LeadRef) -> CampaignLead | None:
        known = await self._lead(keys.address_of(lead.key))
        if known is None:
            return None
        row, _, seen_at = known
        enrolment = people.enrolment_in(row, campaign_external_id)
        return people.as_campaign_lead(row, enrolment, seen_at) if enrolment is not None else None

    def largest_batch_of_leads(self) -> int:
        return LARGEST_BATCH

    async def add_leads(self, campaign_external_id: str, leads: Sequence[NewLead]) -> LeadsAdded:
        """Makes the variables that are missing, then the leads, and then attaches them.

        One lead who bounced, unsubscribed or is in another sequence makes the provider refuse the whole batch. So who is
        known to be such a one is left out, and after a refusal, which did nothing, everybody is looked at once more.
        `added` are those whom the provider said to have added: a running campaign shows them some five minutes later.
        """
        in_path(campaign_external_id)
        if len(leads) > LARGEST_BATCH:
            raise Invalid(f"{len(leads)} leads at once; {LARGEST_BATCH} are sent to EmailBison")
        wanted = {people.address_of(one): one for one in leads}
        await self._make_variables({name for one in leads for name in people.variables_of(one)})
        refused: dict[str, str] = {}  # why, by address
        found: dict[str, Fields] = {}
        made = await self._made([people.to_write(one) for one in wanted.values()])
        for address in wanted:
            row = made.get(address)
            if row is None:  # unchanged, or of a host of private people
                known = await self._lead(address)
                row = known[0] if known is not None else None
            if row is None:
                refused[address] = "was not taken as a lead"
            else:
                found[address] = row
        there = {a for a, row in found.items() if people.enrolment_in(row, campaign_external_id) is not None}
        rest = {address: row for address, row in found.items() if address not in there}
        rest = _attachable(rest, campaign_external_id, refused)
        try:
            await self._attach(campaign_external_id, rest)
        except ProviderRefused as refusal:
            if _NOBODY_ADDED not in str(refusal):
                raise
            asked = rest
            looked = {a: known[0] for a in rest if (known := await self._lead(a)) is not None}
            rest = _attachable(looked, campaign_external_id, refused, also=("never_contacted",))
            refused |= dict.fromkeys(asked.keys() - looked.keys(), "was not taken as a lead")
            if len(rest) < len(asked):
                await self._attach(campaign_external_id, rest)
            else:
                refused |= dict.fromkeys(rest, "is in another sequence, or bounced or unsubscribed")
                rest = {}
        return LeadsAdded(
            added=len(rest),
            known=len(there),
            refused=dict(Counter(refused[address] for address in wanted if address in refused)),
            leads=tuple(
                LeadAddition(keys.lead(address), outcome, refused.get(address))
                for outcome, those in ((Addition.ADDED, rest), (Addition.KNOWN, there), (Addition.REFUSED, refused))
                for address in wanted
                if address in those
            ),
        )

    async def stop_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        """Ends the sequence. The provider says yes also for a stranger to the campaign, so the lead is looked at first."""
        body = {"lead_ids": [int(await self._member(campaign_external_id, lead))]}
        await self._write("POST", f"/campaigns/{in_path(campaign_external_id)}/leads/stop-future-emails", body)

    async def remove_lead(self, campaign_external_id: str, lead: LeadRef) -> None:
        body = {"lead_ids": [int(await self._member(campaign_external_id, lead))]}
        await self._write("DELETE", f"/campaigns/{in_path(campaign_external_id)}/leads", body)

    async def find_lead(self, lead_key: str) -> LeadSighting | None:
        address = keys.address_of(lead_key)
        known = await self._lead(address)
        return lead_sighting(known[0], known[1], address, known[2]) if known is not None else None

    async def list_campaigns_of_lead(self, lead: LeadRef) -> Sequence[str]:
        row, _, _ = await self._known(lead)
        return [required(one, "campaign_id", one.identifier("campaign_id")) for one in people.enrolments_of(row)]

    async def unsubscribe_lead(self, lead: LeadRef) -> None:
        lead_id = lead.external_id if lead.external_id is not None else (await self._known(lead))[1]
        await self._write("PATCH", f"/leads/{in_path(lead_id)}/unsubscribe")

    async def is_unsubscribed(self, lead: LeadRef) -> bool:
        known = await self._lead(keys.address_of(lead.key))
        return known is not None and (known[0].filled("status") or "").strip().lower() == "unsubscribed"

    async def list_categories(self) -> Sequence[str]:
        """The provider judges replies, and has one word for it."""
        return [INTERESTED]

    async def categorize_lead(self, campaign_external_id: str, lead: LeadRef, category: str | None) -> None:
        """Marks the lead's latest reply in the campaign; None takes the mark from all that have it, each with a call of its
        own. A lead who has not replied cannot be judged."""
        if category not in (INTERESTED, None):
            raise Invalid(f"EmailBison has no lead category {category!r}")
        replies = await self._replies_in(campaign_external_id, (await self._known(lead))[1])
        if category is None:
            for row in [row for row in replies if row.flag("interested")]:
                await self._write("PATCH", f"/replies/{inbox.id_of(row)}/mark-as-not-interested")
            return
        if not replies:
            raise Unsupported("EmailBison judges replies: this lead has not replied in the campaign")
        await self._write("PATCH", f"/replies/{inbox.id_of(replies[-1])}/mark-as-interested")

    async def category_of(self, campaign_external_id: str, lead: LeadRef) -> str | None:
        replies = await self._replies_in(campaign_external_id, (await self._known(lead))[1])
        return INTERESTED if any(row.flag("interested") for row in replies) else None

    async def _replies_in(self, campaign: str, lead_id: str) -> list[Fields]:
        """What the lead wrote in the campaign, the latest last."""
        in_path(campaign)
        rows = await self._list(f"/leads/{in_path(lead_id)}/replies", {"folder": "all"})
        mine = [row for row in rows if row.identifier("campaign_id") == campaign and kind_of(row) is RowKind.REPLY]
        dated = [(row.moment("date_received", "created_at"), row) for row in mine]
        for at, row in dated:
            if at is None:
                raise row.refuse("date_received", "is missing")
        return [row for _, row in sorted(dated, key=lambda pair: (pair[0], int(inbox.id_of(pair[1]))))]

    async def _known(self, lead: LeadRef) -> tuple[Fields, str, datetime]:
        known = await self._lead(keys.address_of(lead.key))
        if known is None:
            raise NotThere("there is no such lead")
        return known

    async def _member(self, campaign: str, lead: LeadRef) -> str:
        """The id of a lead who is in the campaign."""
        row, lead_id, _ = await self._known(lead)
        if people.enrolment_in(row, in_path(campaign)) is None:
            raise NotThere(f"campaign {campaign}: the lead is not in it")
        return lead_id

    async def _lead(self, address: str) -> tuple[Fields, str, datetime] | None:
        """The lead, its id, and the time of the answer; None when the provider does not know (any more) whom we name."""
        if read_address(address) != address:
            return None  # no lead has such an address, and as a part of a path it might lead elsewhere
        try:
            value, answer = await self._call("GET", f"/leads/{quote(address, safe='@')}", shown_path="/leads/(address)")
        except NotThere as refusal:
            if is_route(refusal):
                raise
            return None
        lead = data_of(value, "lead")
        lead_id = required(lead, "id", lead.identifier("id"))
        if lead.address("email") != address:
            raise ContractViolated("lead.email is not the one asked for")
        seen_at = answer.answered_at or lead.moment("updated_at", "created_at")
        if seen_at is None:
            raise ContractViolated("lead.updated_at is missing")
        return lead, lead_id, seen_at

    async def _made(self, written: Sequence[object]) -> Mapping[str, Fields]:
        """By address. A known lead is completed, and what it has and we do not say stays."""
        if not written:
            return {}
        body = {"existing_lead_behavior": "patch", "leads": written}
        answer = await self._write("POST", "/leads/create-or-update/multiple", body)
        return {required(row, "email", row.address("email")): row for row in answer.rows("data")}

    async def _make_variables(self, names: set[str]) -> None:
        """One unknown variable refuses a lead whole. Names are read back in small letters."""
        if not names:
            return
        answer = as_object(await self._get("/custom-variables"), "variables")
        rows = await self._list("/custom-variables") if answer.nested("meta").raw else answer.rows("data")
        known = {(row.text("name") or "").strip().lower() for row in rows}
        for name in sorted(names):
            if name.strip().lower() in known:
                continue
            try:
                await self._write("POST", "/custom-variables", {"name": name})
            except ProviderRefused as refusal:
                if _KNOWN_ALREADY not in str(refusal):
                    raise

    async def _attach(self, campaign: str, rows: Mapping[str, Fields]) -> None:
        if not rows:
            return
        ids = [as_number(required(row, "id", row.identifier("id")), "lead") for row in rows.values()]
        await self._write("POST", f"/campaigns/{in_path(campaign)}/leads/attach-leads", {"lead_ids": ids})


def _attachable(
    rows: Mapping[str, Fields], campaign: str, refused: dict[str, str], *, also: tuple[str, ...] = ()
) -> dict[str, Fields]:
    """Who is not kept out; of the others the reason is noted."""
    why = {address: people.why_not_attached(row, campaign, also=also) for address, row in rows.items()}
    refused |= {address: reason for address, reason in why.items() if reason is not None}
    return {address: row for address, row in rows.items() if why[address] is None}
