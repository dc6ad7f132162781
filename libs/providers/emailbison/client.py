"""EmailBison's API as capabilities: snapshots, pulls, webhook registration.

All or nothing: a list of which one page is missing would read as deletions, so whatever smells of one raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

import httpx

from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable
from libs.providers.calls import Answer, CallPolicy, NotThere, call
from libs.providers.capabilities import RemoteMessageKey
from libs.providers.emailbison import events, inbox, keys, pages, steps
from libs.providers.emailbison.campaigns import read_status
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.webhooks import INTERESTED
from libs.providers.fields import Fields
from libs.providers.payloads import parse
from libs.providers.sightings import (
    CampaignSighting,
    ConversationSighting,
    Direction,
    LeadSighting,
    MessageSighting,
    Reading,
    Source,
)

VENDORS_OWN_URL = "https://dedi.emailbison.com"  # one instance of many; white labels have hosts of their own
USER_AGENT = "Outrider/0.1"


class EmailBisonClient:
    """Implements Snapshots, Pulls and WebhookRegistration for one account: one workspace of one instance.

    The lists are the truth of what was sent (scheduled e-mails with a `sent_at`; they outlive an archived campaign) and of
    what was answered (the campaign's part of the master inbox). Untracked mail belongs to no campaign and is in neither.
    Openings are counts only, so no list can give back one that a webhook failed to tell.

    Every method raises RateLimited or ProviderUnavailable (later may work), ProviderRefused (it said no, perhaps with a
    200) or ContractViolated (it answered what its fact sheet does not know).
    """

    def __init__(
        self, api_key: str, base_url: str, http: httpx.AsyncClient, *, policy: CallPolicy = CallPolicy()
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/").removesuffix("/api") + "/api"
        self._http = http
        self._policy = policy

    async def read_workspace_id(self) -> str | None:
        """The workspace that the token acts in now; None when the answer does not say.

        A super-admin's token follows its user from workspace to workspace; an api-user's stays.
        """
        user = _data_of(await self._get("/users"), "user")
        return user.nested("team").identifier("id") or user.nested("workspace").identifier("id")

    async def list_campaign_ids(self) -> Sequence[str]:
        """Every campaign of the workspace."""
        before = await self.read_workspace_id()
        rows = await self._list("/campaigns")
        if await self.read_workspace_id() != before:
            raise ProviderUnavailable("the token's workspace changed while its campaigns were listed")
        return [_required(row, "id", row.identifier("id")) for row in rows]

    async def list_message_keys(self, campaign_external_id: str) -> Sequence[RemoteMessageKey]:
        """What was sent and what the master inbox holds of the campaign, mails by hand included."""
        found: list[RemoteMessageKey] = []
        addresses = _Addresses()
        own_mail: set[str] = set()

        def add(key: str, kind: str, address: str, at: datetime) -> None:
            found.append(
                RemoteMessageKey(
                    key=key,
                    kind=kind,
                    campaign_external_id=campaign_external_id,
                    lead_key=keys.lead(address),
                    occurred_at=at,
                )
            )

        for row in await self._list(f"/campaigns/{campaign_external_id}/scheduled-emails"):
            sent_at = row.moment("sent_at")
            if sent_at is None:  # yet to go, or never to go; after a bounce the row may say sent or bounced
                continue
            mail_id = _required(row, "id", row.identifier("id"))
            lead = row.nested("lead")
            address = _required(lead, "email", lead.address("email"))
            addresses.learn(row, mail_id, address)
            own_mail.add(row.token("raw_message_id") or "")
            add(keys.sent(mail_id), "sent", address, sent_at)
        for row in await self._list(f"/campaigns/{campaign_external_id}/replies", {"folder": "all"}):
            kind = _kind(row)
            if kind is RowKind.BOUNCE or _is_own_mail(row, kind, own_mail):
                continue
            address = addresses.find(row) or await self._address_of_lead(row)
            is_reply, row_id = kind is RowKind.REPLY, inbox.id_of(row)
            at = row.moment("date_received", "created_at")
            if at is None:
                raise row.refuse("date_received", "is missing")
            add(keys.reply(row_id) if is_reply else keys.manual(row_id), "reply" if is_reply else "sent", address, at)
        return found

    async def read_campaign(self, campaign_external_id: str) -> Reading:
        """The campaign and its steps, as of the provider's clock at the time of the answer."""
        value, answer = await self._call("GET", f"/campaigns/{campaign_external_id}")
        campaign = _data_of(value, "campaign")
        if not campaign.raw:  # a deleted campaign on its way out
            raise ProviderRefused(f"there is no campaign {campaign_external_id}")
        if campaign.identifier("id") != campaign_external_id:
            raise ContractViolated("campaign.id is not the one asked for")
        # The state is that of now, and `updated_at` need not move with the status: the answer's time is the version.
        seen_at = answer.answered_at or campaign.moment("updated_at", "created_at")
        if seen_at is None:
            raise ContractViolated("campaign.updated_at is missing")
        return Reading(
            event_type="pull.campaign",
            campaigns=(
                CampaignSighting(
                    external_id=campaign_external_id,
                    seen_at=seen_at,
                    name=campaign.filled("name"),
                    status=read_status(campaign),
                ),
            ),
            steps=steps.sightings(await self._steps(campaign_external_id), campaign_external_id, seen_at),
        )

    async def read_messages(self, campaign_external_id: str, lead_keys: Sequence[str]) -> Reading:
        """The leads and their mail in this campaign. A lead whom the provider does not know (any more) is left out."""
        numbers = steps.numbers_of(await self._steps(campaign_external_id))
        leads: list[LeadSighting] = []
        conversations: list[ConversationSighting] = []
        messages: list[MessageSighting] = []
        for lead_key in dict.fromkeys(lead_keys):
            address = keys.address_of(lead_key)
            try:
                value, answer = await self._call(
                    "GET", f"/leads/{quote(address, safe='@')}", shown_path="/leads/(address)"
                )
            except NotThere as refusal:
                if _is_route(refusal):
                    raise
                continue
            lead = _data_of(value, "lead")
            lead_id = _required(lead, "id", lead.identifier("id"))
            if lead.address("email") != address:
                raise ContractViolated("lead.email is not the one asked for")
            seen_at = answer.answered_at or lead.moment("updated_at", "created_at")
            if seen_at is None:
                raise ContractViolated("lead.updated_at is missing")
            mails = await self._list(f"/leads/{lead_id}/scheduled-emails")
            rows = await self._list(f"/leads/{lead_id}/replies", {"folder": "all"})
            story = _Story(campaign_external_id, address, numbers)
            messages += story.messages(mails, rows)
            leads.append(_lead_sighting(lead, lead_id, address, seen_at))
            conversations.append(story.conversation(seen_at))
        return Reading(
            event_type="pull.messages",
            leads=tuple(leads),
            conversations=tuple(conversations),
            messages=tuple(messages),
        )

    async def register_webhook(self, *, url: str, name: str) -> str:
        """For every type that the instance offers. The provider keeps any number of registrations of one URL and posts
        to each, so the list is looked at first; and again, once, when the answer to the creation did not come."""
        wanted = await self._event_ids()
        body = {"name": name, "url": url, "events": wanted}
        known = await self._registration_of(url)
        if known is not None:
            webhook_id = _required(known, "id", known.identifier("id"))
            if not set(wanted) <= _events_of(known):
                await self._call("PUT", f"/webhook-url/{webhook_id}", json=body)  # replaces: it may be repeated
            return webhook_id
        try:
            value, _ = await self._call("POST", "/webhook-url", json=body)
        except ProviderUnavailable:
            made = await self._registration_of(url)
            if made is None:  # no proof: it may still be on its way
                raise
        else:
            made = _data_of(value, "webhook")
        return _required(made, "id", made.identifier("id"))

    async def _event_ids(self) -> list[str]:
        """What can be subscribed to here; instances differ by age, and one unknown name may refuse them all."""
        try:
            answer = Fields({"types": await self._get("/webhook-events/event-types")}).nested("types")
        except NotThere:
            return [events.subscription_id(event_type) for event_type in events.EVENT_TYPES]
        offered = [_required(row, "id", row.filled("id")) for row in answer.rows("data")]
        if not offered:
            raise ContractViolated("types.data is empty")
        return offered

    async def _registration_of(self, url: str) -> Fields | None:
        """The oldest registration of the URL."""
        found = [row for row in await self._webhooks() if row.text("url") == url]
        return min(found, key=lambda row: int(row.identifier("id") or 0), default=None)

    async def _webhooks(self) -> Sequence[Fields]:
        answer = Fields({"webhooks": await self._get("/webhook-url")}).nested("webhooks")
        if answer.nested("meta").raw:
            return await self._list("/webhook-url")
        return answer.rows("data")  # no pages were seen here

    async def _steps(self, campaign: str) -> Sequence[Fields]:
        """Parents and variants; none for a campaign without a sequence, which the provider calls an error."""
        try:
            try:
                return steps.rows_of(await self._get(f"/campaigns/v1.1/{campaign}/sequence-steps"))
            except NotThere as refusal:
                if not _is_route(refusal):
                    raise
            return steps.rows_of(await self._get(f"/campaigns/{campaign}/sequence-steps"))
        except ProviderRefused as refusal:
            if "do not exist" in str(refusal):
                return ()
            raise

    async def _address_of_lead(self, row: Fields) -> str:
        """Of a row whose lead none of the campaign's mails names."""
        lead_id = _required(row, "lead_id", row.identifier("lead_id"))
        lead = _data_of(await self._get(f"/leads/{lead_id}"), "lead")
        return _required(lead, "email", lead.address("email"))

    async def _list(self, path: str, params: pages.Params | None = None) -> Sequence[Fields]:
        async def get(page: pages.Params) -> object:
            return await self._get(path, {**(params or {}), **page})

        return await pages.read_all(get, path.strip("/"))

    async def _get(self, path: str, params: pages.Params | None = None) -> object:
        value, _ = await self._call("GET", path, params)
        return value

    async def _call(
        self,
        method: str,
        path: str,
        params: pages.Params | None = None,
        json: object = None,
        shown_path: str | None = None,
    ) -> tuple[object, Answer]:
        return await call(
            self._http,
            method,
            self._base_url + path,
            idempotent=method in ("GET", "PUT"),
            params=params,
            json=json,
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Authorization": f"Bearer {self._api_key}",
            },
            secrets=(self._api_key,),
            explain=explanation,
            refusal_in=refusal_in,
            policy=self._policy,
            shown_path=shown_path,
        )


def explanation(body: object) -> str | None:
    """The provider's sentence: in its own wrapper, or where Laravel puts it."""
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    wrapped = data.get("message") if isinstance(data, dict) else None
    order = (wrapped, body.get("message"), body.get("error"))
    return next((sentence for sentence in order if isinstance(sentence, str) and sentence), None)


def refusal_in(body: bytes) -> str | None:
    """What a 200 refuses with: `success` is false, in the wrapper or without one."""
    if b'"success"' not in body:
        return None
    try:
        value = parse(body)
    except ContractViolated:
        return None
    if not isinstance(value, dict):
        return None
    wrapper = value.get("data")
    refused = value.get("success") is False or (isinstance(wrapper, dict) and wrapper.get("success") is False)
    return (explanation(value) or "no reason given") if refused else None


class _Addresses:
    """Whose mail is whose, from the rows that say so."""

    def __init__(self) -> None:
        self._by_lead: dict[str, str] = {}
        self._by_mail: dict[str, str] = {}

    def learn(self, row: Fields, mail_id: str, address: str) -> None:
        self._by_mail[mail_id] = address
        lead_id = row.identifier("lead_id") or row.nested("lead").identifier("id")
        if lead_id is not None:
            self._by_lead[lead_id] = address

    def find(self, row: Fields) -> str | None:
        return (
            row.nested("lead").address("email")
            or self._by_lead.get(row.identifier("lead_id") or "")
            or self._by_mail.get(row.identifier("scheduled_email_id") or "")
        )


class _Story:
    """One lead in one campaign, told by the rows of that lead."""

    def __init__(self, campaign: str, address: str, numbers: Mapping[str, int]) -> None:
        self._campaign = campaign
        self._address = address
        self._numbers = numbers
        self._is_interested = False

    @property
    def _lead_key(self) -> str:
        return keys.lead(self._address)

    @property
    def _conversation_key(self) -> str:
        return keys.conversation(self._campaign, self._lead_key)

    def messages(self, mails: Sequence[Fields], rows: Sequence[Fields]) -> list[MessageSighting]:
        found: list[MessageSighting] = []
        steps_of: dict[str, int | None] = {}
        mailboxes: dict[str | None, str | None] = {}
        own_mail: set[str] = set()
        for mail in mails:
            sent_at = mail.moment("sent_at")
            if mail.identifier("campaign_id") != self._campaign or sent_at is None:
                continue
            mail_id = _required(mail, "id", mail.identifier("id"))
            steps_of[mail_id] = self._numbers.get(mail.identifier("sequence_step_id") or "")
            sender = mail.nested("sender_email")
            mailboxes[mail_id] = sender.address("email")
            own_mail.add(mail.token("raw_message_id") or "")
            found.append(self._sent(mail, mail_id, sent_at, steps_of[mail_id], mailboxes[mail_id]))
        for row in rows:
            kind, mail_id_answered = _kind(row), row.identifier("scheduled_email_id")
            if row.identifier("campaign_id") != self._campaign or kind is RowKind.BOUNCE:
                continue
            if _is_own_mail(row, kind, own_mail):
                continue
            self._is_interested |= row.flag("interested") is True
            version = inbox.version_of(row)
            if version is None:
                raise row.refuse("date_received", "is missing")
            found.append(
                inbox.read_row(
                    row,
                    kind,
                    conversation_key=self._conversation_key,
                    lead_key=self._lead_key,
                    campaign=self._campaign,
                    mailbox=mailboxes.get(mail_id_answered),
                    seen_at=version,
                    answers=mail_id_answered,
                    step=steps_of.get(mail_id_answered or ""),
                    step_source=Source.PULL,
                )
            )
        return found

    def conversation(self, seen_at: datetime) -> ConversationSighting:
        """Of all replies as they are now: here, unlike in a webhook, no interest is a statement."""
        return ConversationSighting(
            key=self._conversation_key,
            lead_key=self._lead_key,
            seen_at=seen_at,
            campaign_external_id=self._campaign,
            category=INTERESTED if self._is_interested else "",
            sentiment="positive" if self._is_interested else "",
        )

    def _sent(
        self, mail: Fields, mail_id: str, sent_at: datetime, step: int | None, mailbox: str | None
    ) -> MessageSighting:
        return MessageSighting(
            key=keys.sent(mail_id),
            conversation_key=self._conversation_key,
            lead_key=self._lead_key,
            direction=Direction.OUTBOUND,
            seen_at=sent_at,  # what was sent does not change, and the row tells no other time of the provider
            campaign_external_id=self._campaign,
            step_number=step,
            step_source=Source.PULL if step is not None else None,
            occurred_at=sent_at,
            from_address=mailbox,
            to_address=self._address,
            subject=mail.text("email_subject"),
            body_html=mail.filled("email_body"),
            internet_message_id=mail.token("raw_message_id"),
            is_manual=False,
        )


def _is_route(refusal: NotThere) -> bool:
    """Whether the instance lacks the route, not the record."""
    return "The route " in str(refusal)


def _kind(row: Fields) -> RowKind:
    kind = inbox.kind_of(row)
    if kind is None:  # to guess would make replies of bounces
        raise row.refuse("type", "is none that we know")
    return kind


def _is_own_mail(row: Fields, kind: RowKind, own_mail: set[str]) -> bool:
    """Whether an outgoing row is a mail of the sequence, which an inbox that syncs everything holds once more."""
    message_id = row.token("raw_message_id")
    return kind is RowKind.MANUAL and message_id is not None and message_id in own_mail


def _lead_sighting(lead: Fields, lead_id: str, address: str, seen_at: datetime) -> LeadSighting:
    return LeadSighting(
        key=keys.lead(address),
        seen_at=seen_at,
        external_id=lead_id,
        email=address,
        first_name=lead.filled("first_name"),
        last_name=lead.filled("last_name"),
        company_name=lead.filled("company"),
        title=lead.filled("title"),
    )


def _events_of(registration: Fields) -> set[str]:
    named = registration.raw.get("events")
    return {name.lower() for name in named if isinstance(name, str)} if isinstance(named, list) else set()


def _data_of(value: object, name: str) -> Fields:
    if value is None:
        raise ProviderUnavailable(f"an empty answer instead of the {name}")
    answer = Fields({name: value}).nested(name)
    if isinstance(answer.raw.get("data"), list) and not answer.raw["data"]:  # PHP's empty object
        return Fields({}, f"{name}.")
    return Fields({name: answer.raw.get("data")}).nested(name)


def _required(fields: Fields, name: str, value: str | None) -> str:
    if value is None:
        raise fields.refuse(name, "is missing")
    return value
