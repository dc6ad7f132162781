"""The master inbox, message histories, and answers into a thread."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace

from libs.errors import ContractViolated, Invalid, ProviderUnavailable
from libs.providers.calls import Answer as HttpAnswer
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.records import Answer, ConversationRef, InboxEntry, LeadRef, Page
from libs.providers.sightings import Direction, MessageSighting, Source
from libs.providers.smartlead import history, keys
from libs.providers.smartlead.lead_calls import LeadCalls
from libs.providers.smartlead.transport import as_number, as_object, in_path, is_nothing, required

INBOX_PAGE = 20  # the provider's cap
QUEUED = "Email added to the queue"  # how it says that an answer will go out: plain text, called HTML


class InboxCalls(LeadCalls):
    """Inbox."""

    async def list_conversations(
        self, *, campaign_external_id: str | None = None, after: str | None = None
    ) -> Page[InboxEntry]:
        """Of those who replied. The provider tells no total, so the list ends with an empty page."""
        offset, first = _place(after)
        filters: dict[str, object] = {"emailStatus": "Replied"}
        if campaign_external_id is not None:
            filters["campaignId"] = [as_number(campaign_external_id, "campaign_external_id")]
        value, _ = await self._call(
            "POST",
            "/master-inbox/inbox-replies",
            {"fetch_message_history": "false"},
            {"offset": offset, "limit": INBOX_PAGE, "filters": filters, "sortBy": "REPLY_TIME_DESC"},
            idempotent=True,
        )
        page = as_object(value, "inbox")
        if not page.states("data"):
            raise ContractViolated("inbox.data is missing")
        rows = page.rows("data")
        if not rows:
            return Page(())
        begins_with = required(rows[0].identifier("email_lead_map_id"), "inbox.data[].email_lead_map_id")
        if begins_with == first:
            raise ProviderUnavailable("the inbox answers the same page again")
        names = await self._category_names() if any(row.identifier("lead_category_id") for row in rows) else {}
        return Page(tuple(_entry(row, names) for row in rows), f"{offset + len(rows)}:{begins_with}")

    async def list_messages(self, conversation: ConversationRef) -> Sequence[MessageSighting]:
        campaign = _campaign_of(conversation)
        address = keys.address_of(conversation.lead.key)
        found, _ = await self._history(campaign, address, await self._id_of(conversation.lead))
        return sorted(found, key=lambda message: message.seen_at)

    async def reply(self, conversation: ConversationRef, answer: Answer) -> str | None:
        """Into the thread of `answer.to_message_key`, of the last thing that the lead wrote without one; in the name of the
        mailbox that wrote before. The answer gets its id once it is sent, so none can be told here."""
        campaign, lead_key = _campaign_of(conversation), conversation.lead.key
        lead_id = await self._id_of(conversation.lead)
        told, _ = await self._history_answer(campaign, lead_id)
        for row in reversed(told.rows("history")):
            message = history.read_row(row, campaign=campaign, lead_key=lead_key, source=Source.PULL, seen_at=None)
            if message is not None and answer.to_message_key in (message.key, None):
                if answer.to_message_key is None and message.direction is not Direction.INBOUND:
                    continue
                break
        else:
            raise NotThere("the message to be answered is not in the lead's history (yet)")
        body: dict[str, object] = {
            "email_stats_id": required(row.token("stats_id"), "history.history[].stats_id"),
            "email_body": answer.html if answer.html is not None else _as_html(answer.text),
        }
        if message.direction is Direction.INBOUND:
            body["reply_message_id"] = message.internet_message_id
            body["reply_email_time"] = row.text("time")
            body["reply_email_body"] = row.text("email_body") or ""
        for name, addresses in (("cc", answer.cc), ("bcc", answer.bcc)):
            if addresses:
                body[name] = ",".join(addresses)
        await self._write("POST", f"/campaigns/{in_path(campaign)}/reply-email-thread", body, words=(QUEUED,))
        return None

    async def _history_answer(self, campaign: str, lead_id: str) -> tuple[Fields, HttpAnswer]:
        value, answer = await self._call(
            "GET", f"/campaigns/{in_path(campaign)}/leads/{in_path(lead_id)}/message-history"
        )
        if is_nothing(value):
            raise NotThere(f"campaign {campaign}: the lead is not in it")
        told = as_object(value, "history")
        if not told.states("history"):
            raise ContractViolated("history.history is missing")
        return told, answer

    async def _history(self, campaign: str, address: str, lead_id: str) -> tuple[list[MessageSighting], HttpAnswer]:
        told, answer = await self._history_answer(campaign, lead_id)
        mailbox, lead_key = told.address("from"), keys.lead(address)
        messages = []
        for row in told.rows("history"):
            message = history.read_row(row, campaign=campaign, lead_key=lead_key, source=Source.PULL, seen_at=None)
            if message is None:
                raise ContractViolated("history.history[] has a row without type, time or id")
            messages.append(message)
        steps = {message.key: message.step_number for message in messages if message.step_number is not None}
        return [completed(message, address, mailbox, steps) for message in messages], answer


def completed(message: MessageSighting, address: str, mailbox: str | None, steps: Mapping[str, int]) -> MessageSighting:
    """With what only the rest of the history tells: a reply has no step, but the e-mail it answers does."""
    if message.direction is Direction.OUTBOUND:
        return replace(message, from_address=message.from_address or mailbox, to_address=message.to_address or address)
    step = message.step_number or steps.get(message.in_reply_to_key or "")
    return replace(
        message,
        to_address=message.to_address or mailbox,
        step_number=step,
        step_source=Source.PULL if step is not None else None,
    )


def _entry(row: Fields, names: Mapping[str, str]) -> InboxEntry:
    address = required(row.address("lead_email"), "inbox.data[].lead_email")
    campaign = required(row.identifier("email_campaign_id"), "inbox.data[].email_campaign_id")
    category, lead_key = row.identifier("lead_category_id"), keys.lead(address)
    name = " ".join(filter(None, (row.filled("lead_first_name"), row.filled("lead_last_name"))))
    return InboxEntry(
        conversation=ConversationRef(
            key=keys.conversation(campaign, lead_key),
            lead=LeadRef(key=lead_key, external_id=row.identifier("email_lead_id")),
            campaign_external_id=campaign,
            external_id=row.identifier("email_lead_map_id"),
            sender_external_id=row.identifier("email_account_id"),
        ),
        lead_name=name or None,
        last_reply_at=row.moment("last_reply_time"),
        is_unread=row.flag("has_new_unread_email"),
        category=names.get(category) if category else "",
    )


def _campaign_of(conversation: ConversationRef) -> str:
    if conversation.campaign_external_id is None:
        raise Invalid("Smartlead keeps conversations by campaign and lead: this one belongs to no campaign")
    return conversation.campaign_external_id


def _as_html(text: str) -> str:
    return "<div>" + html.escape(text, quote=False).replace("\n", "<br>") + "</div>"


def _place(after: str | None) -> tuple[int, str | None]:
    if after is None:
        return 0, None
    offset, _, first = after.partition(":")
    if not (offset.isascii() and offset.isdigit() and first):
        raise Invalid("this is no place in a list of Smartlead's conversations", pointer="after")
    return int(offset), first
