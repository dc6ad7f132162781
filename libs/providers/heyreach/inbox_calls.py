"""The inbox: conversations of all senders, their messages, and answers.

It is for people to look at and to answer in. As the truth about messages it will not do, see HeyReachClient.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from libs.errors import ContractViolated, Invalid, ProviderUnavailable, Unsupported
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.heyreach import keys
from libs.providers.heyreach.leads import read_profile_of
from libs.providers.heyreach.profiles import profile_url, read_profile
from libs.providers.heyreach.transport import PAGE, HeyReachApi, as_number, as_object, existing, required
from libs.providers.records import Answer, ConversationRef, InboxEntry, LeadRef, Page
from libs.providers.sightings import Channel, Direction, MessageSighting

LONGEST_PLACE = 2000
_DIRECTIONS = {"ME": Direction.OUTBOUND, "CORRESPONDENT": Direction.INBOUND}
_CONVERSATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9+/=_:-]{0,499}")


class InboxCalls(HeyReachApi):
    """Inbox."""

    async def list_conversations(
        self, *, campaign_external_id: str | None = None, after: str | None = None
    ) -> Page[InboxEntry]:
        """Of those who wrote something. With a campaign: the conversations that it is tied to, whole, whoever wrote what.
        A page may be short or empty and not be the last."""
        first, cursor = _place(after)
        campaigns = [] if campaign_external_id is None else [existing(campaign_external_id)]
        page = await self._conversations({"campaignIds": campaigns}, cursor)
        rows = page.rows("items")
        if not rows:
            return Page(())
        begins_with = required(rows[0].token("id"), "conversations.items[].id")
        if begins_with == first:
            raise ProviderUnavailable("the inbox answers the same page again")
        entries = tuple(
            _entry(row, campaign_external_id) for row in rows if row.flag("groupChat") is not True and _has_reply(row)
        )
        if page.flag("hasNextPage") is not True:
            return Page(entries)
        return Page(entries, f"{begins_with}|{required(page.token('nextCursor'), 'conversations.nextCursor')}")

    async def list_messages(self, conversation: ConversationRef) -> Sequence[MessageSighting]:
        sender, conversation_id = _parts(conversation)
        try:
            return await self._chatroom(sender, conversation_id, conversation.lead.key)
        except NotThere:
            # An id that was kept for long can be another one by now.
            row = await self._listed_conversation(conversation)
            if row is None:
                raise
            now = required(row.token("id"), "conversations.items[].id")
            if now == conversation_id:
                raise
            return await self._chatroom(sender, now, conversation.lead.key)

    async def listed_messages(self, conversation: ConversationRef) -> Sequence[MessageSighting]:
        """As the list of conversations has them: fresher than the chatroom, and told to be a part now and then."""
        row = await self._listed_conversation(conversation)
        return () if row is None else read_messages_of(row, conversation.lead.key, _parts(conversation)[1])

    async def reply(self, conversation: ConversationRef, answer: Answer) -> str | None:
        """Plain text into a conversation that exists. It is queued: its key is told by nobody."""
        if answer.cc or answer.bcc:
            raise Unsupported("a LinkedIn message has no copies: leave out cc and bcc")
        if not answer.text.strip():
            raise Invalid("a LinkedIn message needs a text", pointer="/text")
        sender, conversation_id = _parts(conversation)
        body = {"message": answer.text, "conversationId": conversation_id, "linkedInAccountId": sender}
        await self._write("POST", "/inbox/SendMessage", json=body)
        return None

    async def _chatroom(self, sender: int, conversation_id: str, lead_key: str) -> Sequence[MessageSighting]:
        # Ids end in `=`.
        value, _ = await self._read("GET", f"/inbox/GetChatroom/{sender}/{quote(conversation_id, safe='')}")
        return read_messages_of(as_object(value, "chatroom"), lead_key, conversation_id)

    async def _listed_conversation(self, conversation: ConversationRef) -> Fields | None:
        """This sender's one with this lead: by its id, or the only one that there is."""
        sender, conversation_id = _parts(conversation)
        filters: dict[str, object] = {
            "linkedInAccountIds": [sender],
            "leadProfileUrl": profile_url(keys.profile_of(conversation.lead.key)),
        }
        rows = (await self._conversations(filters, None)).rows("items")
        only = rows[0] if len(rows) == 1 else None
        return next((row for row in rows if row.token("id") == conversation_id), only)

    async def _conversations(
        self, filters: dict[str, object], cursor: str | None, *, since: str | None = None
    ) -> Fields:
        """All filters in one block, each stated: outside of it they are ignored, and some say that none may be left out."""
        unfiltered: dict[str, object] = {
            "linkedInAccountIds": [],
            "campaignIds": [],
            "searchString": None,
            "leadLinkedInId": None,
            "leadProfileUrl": None,
            "tags": [],
            "seen": None,
            "latestAutoTagNames": [],
        }
        body: dict[str, object] = {"filters": unfiltered | filters, "limit": PAGE, "cursor": cursor}
        if since is not None:  # bounds the last message's time
            body["from"] = since
        value, _ = await self._read("POST", "/inbox/GetConversationsV3", json=body)
        page = as_object(value, "conversations")
        if not page.states("items"):
            raise ContractViolated("conversations.items is missing")
        return page


def _has_reply(row: Fields) -> bool:
    """As far as the row tells: it need not tell every message."""
    if row.filled("lastMessageSender") == "CORRESPONDENT":
        return True
    messages = row.rows("messages")
    told = int(row.identifier("totalMessages") or 0)
    return told > len(messages) or any(one.filled("sender") == "CORRESPONDENT" for one in messages)


def _entry(row: Fields, campaign: str | None) -> InboxEntry:
    conversation_id = required(row.token("id"), "conversations.items[].id")
    person = row.nested("correspondentProfile")
    profile = read_profile_of(person, "conversations.items[].correspondentProfile")
    replies = [one.moment("createdAt") for one in row.rows("messages") if one.filled("sender") == "CORRESPONDENT"]
    if row.filled("lastMessageSender") == "CORRESPONDENT":
        replies.append(row.moment("lastMessageAt"))
    is_read = row.flag("read")
    return InboxEntry(
        conversation=ConversationRef(
            key=keys.conversation(conversation_id),
            lead=LeadRef(key=keys.lead(profile), external_id=person.token("linkedin_id")),
            campaign_external_id=campaign,
            external_id=conversation_id,
            sender_external_id=required(row.identifier("linkedInAccountId"), "conversations.items[].linkedInAccountId"),
        ),
        lead_name=" ".join(filter(None, (person.filled("firstName"), person.filled("lastName")))) or None,
        last_reply_at=max((at for at in replies if at is not None), default=None),
        is_unread=None if is_read is None else not is_read,
    )


def read_messages_of(chatroom: Fields, lead_key: str, conversation_id: str) -> Sequence[MessageSighting]:
    """The very messages that webhooks tell, by the same keys; an empty text is a voice message or no text at all."""
    if not chatroom.states("messages"):
        raise ContractViolated("chatroom.messages is missing")
    us = chatroom.nested("linkedInAccount").filled("profileUrl")
    our_profile = read_profile(us) if us is not None else None
    ours = profile_url(our_profile) if our_profile is not None else None
    theirs = profile_url(keys.profile_of(lead_key))
    found = []
    for row in chatroom.rows("messages"):
        at, direction = row.moment("createdAt"), _DIRECTIONS.get(row.filled("sender") or "")
        if at is None:
            raise row.refuse("createdAt", "is missing")
        if direction is None:
            raise row.refuse("sender", "is neither ME nor CORRESPONDENT")
        text, is_outbound = row.text("body"), direction is Direction.OUTBOUND
        found.append(
            MessageSighting(
                key=keys.message(conversation_id, at, direction, text or ""),
                conversation_key=keys.conversation(conversation_id),
                lead_key=lead_key,
                direction=direction,
                seen_at=at,
                channel=Channel.LINKEDIN,
                occurred_at=at,
                from_address=ours if is_outbound else theirs,
                to_address=theirs if is_outbound else ours,
                subject=row.filled("subject"),
                body_text=text,
                is_inmail=row.flag("isInMail"),
            )
        )
    return sorted(found, key=lambda message: message.seen_at)


def _parts(conversation: ConversationRef) -> tuple[int, str]:
    """The sender and the conversation's id, fit for a path."""
    if conversation.external_id is None or conversation.sender_external_id is None:
        raise Invalid("a conversation of HeyReach's is named by its id and by the sender who holds it")
    if not _CONVERSATION_ID.fullmatch(conversation.external_id):
        raise NotThere("there is no such conversation: this is no id of HeyReach's")
    return as_number(conversation.sender_external_id, "sender_external_id"), conversation.external_id


def _place(after: str | None) -> tuple[str | None, str | None]:
    if after is None:
        return None, None
    first, _, cursor = after.partition("|")
    if not first or not cursor or len(after) > LONGEST_PLACE:
        raise Invalid("this is no place in a list of HeyReach's conversations", pointer="after")
    return first, cursor
