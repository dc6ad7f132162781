"""Conversations with leads: the master inbox as a list, one lead's mail in a campaign, an answer into the thread."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.errors import Invalid
from libs.providers.calls import NotThere
from libs.providers.emailbison import inbox, keys, leads, pages, steps
from libs.providers.emailbison.inbox import RowKind
from libs.providers.emailbison.pulls import PullCalls
from libs.providers.emailbison.story import Story, kind_of
from libs.providers.emailbison.transport import as_number, data_of, in_path, required
from libs.providers.emailbison.webhooks import INTERESTED
from libs.providers.fields import Fields
from libs.providers.records import Answer, ConversationRef, InboxEntry, LeadRef, Page
from libs.providers.sightings import MessageSighting


class InboxCalls(PullCalls):
    """Inbox."""

    async def list_conversations(
        self, *, campaign_external_id: str | None = None, after: str | None = None
    ) -> Page[InboxEntry]:
        """Of the latest reply of each on the page; an earlier one may be told again on a later page. Untracked mail belongs
        to no campaign and to no lead, and is left out."""
        path = "/replies" if campaign_external_id is None else f"/campaigns/{in_path(campaign_external_id)}/replies"

        async def get(page: pages.Params) -> object:
            return await self._get(path, {"folder": "inbox", **page})

        rows, following = await pages.read_page(get, "replies", after)
        entries: dict[str, InboxEntry] = {}
        for row in rows:
            entry = _entry(row)
            if entry is None:
                continue
            other = entries.get(entry.conversation.key)
            if other is None or (
                entry.last_reply_at and other.last_reply_at and entry.last_reply_at > other.last_reply_at
            ):
                entries[entry.conversation.key] = entry
        return Page(tuple(entries.values()), following)

    async def list_messages(self, conversation: ConversationRef) -> Sequence[MessageSighting]:
        campaign, address = _campaign_of(conversation), keys.address_of(conversation.lead.key)
        row, lead_id, _ = await self._known(conversation.lead)
        if leads.enrolment_in(row, campaign) is None:
            raise NotThere(f"campaign {campaign}: the lead is not in it")
        numbers = steps.numbers_of(await self._steps(campaign))
        mails = await self._list(f"/leads/{lead_id}/scheduled-emails")
        rows = await self._list(f"/leads/{lead_id}/replies", {"folder": "all"})
        found = Story(campaign, address, numbers).messages(mails, rows)
        return sorted(found, key=_place)

    async def reply(self, conversation: ConversationRef, answer: Answer) -> str | None:
        """To a row of the master inbox: that of `answer.to_message_key`, without one the lead's latest reply. From the
        mailbox that it came to, to whoever wrote it, be it a colleague of the lead."""
        campaign, lead_id = _campaign_of(conversation), (await self._known(conversation.lead))[1]
        row = await self._row_to_answer(campaign, lead_id, answer.to_message_key)
        is_ours = kind_of(row) is RowKind.MANUAL
        to = inbox.correspondent_of(row) if is_ours else required(row, "from", row.address("from_email_address"))
        body: dict[str, object] = {
            "message": answer.html if answer.html is not None else answer.text,
            "content_type": "html" if answer.html is not None else "text",
            "sender_email_id": as_number(required(row, "sender_email_id", row.identifier("sender_email_id")), "sender"),
            "to_emails": [_to(to, None if is_ours else row.filled("from_name"))],
            # Lists also where they are empty: null is refused.
            "cc_emails": [_to(one) for one in answer.cc],
            "bcc_emails": [_to(one) for one in answer.bcc],
            "inject_previous_email_body": False,  # with it the lead's own signature stands in our mail
        }
        sent = data_of((await self._write("POST", f"/replies/{inbox.id_of(row)}/reply", body)).raw, "answer")
        told = sent.nested("reply")
        return keys.manual(inbox.id_of(told)) if told.raw else None

    async def _row_to_answer(self, campaign: str, lead_id: str, message_key: str | None) -> Fields:
        if message_key is None:
            replies = await self._replies_in(campaign, lead_id)
            if not replies:
                raise NotThere("the lead has not replied in this campaign (yet)")
            return replies[-1]
        kind, _, row_id = message_key.partition(":")
        if kind not in ("reply", "manual"):
            raise Invalid("EmailBison answers mails of the inbox: name a reply, or none", pointer="/to_message_key")
        row = data_of(await self._get(f"/replies/{in_path(row_id)}"), "reply")
        whose = (row.identifier("campaign_id"), row.identifier("lead_id"))
        if whose != (campaign, lead_id):
            raise NotThere("the message to be answered is none of this conversation")
        return row


def _entry(row: Fields) -> InboxEntry | None:
    """None for what belongs to no conversation of a campaign: mail of ours, notices, untracked mail."""
    campaign, lead = row.identifier("campaign_id"), row.nested("lead")
    address = lead.address("email")
    if campaign is None or address is None or kind_of(row) is not RowKind.REPLY:
        return None
    lead_key, interested = keys.lead(address), row.flag("interested")
    read = row.flag("read")
    return InboxEntry(
        conversation=ConversationRef(
            key=keys.conversation(campaign, lead_key),
            lead=LeadRef(key=lead_key, external_id=row.identifier("lead_id") or lead.identifier("id")),
            campaign_external_id=campaign,
            sender_external_id=row.identifier("sender_email_id"),
        ),
        lead_name=row.filled("from_name") if row.address("from_email_address") == address else None,
        last_reply_at=row.moment("date_received", "created_at"),
        is_unread=not read if read is not None else None,
        category=None if interested is None else INTERESTED if interested else "",
    )


def _place(message: MessageSighting) -> tuple[datetime, bool, int]:
    """Times are whole seconds; within one the sequence's mail comes first, and then as rows were made."""
    kind, _, number = message.key.partition(":")
    return message.occurred_at or message.seen_at, kind != "sent", int(number)


def _campaign_of(conversation: ConversationRef) -> str:
    if conversation.campaign_external_id is None:
        raise Invalid(
            "this conversation belongs to no campaign: EmailBison's untracked mail is read and answered there"
        )
    return in_path(conversation.campaign_external_id)


def _to(address: str, name: str | None = None) -> dict[str, str]:
    """Written with `email_address`, and read back with `address`."""
    return {"name": name or address, "email_address": address}
