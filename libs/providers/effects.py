"""Writes to providers, and what can be learnt of one whose answer was lost.

A write is made once. When its answer does not come it may have landed, or be on its way still. Then its provider's table
(`registry.Provider.effects`, written from the fact sheet) says how to look, how long to wait before a look means anything,
and whether not to find it proves that it did not happen. Only then may it be sent again; otherwise a person decides. No
message to a person is ever sent again on such a proof.

An adapter writes its table in effects.py of its folder, one Effect for each operation that it offers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from libs.providers import capabilities
from libs.providers.capabilities import CAPABILITIES

# Operation (the method's name) -> the capability that it is a part of. Whatever is not here only reads.
WRITES: Mapping[str, type[object]] = MappingProxyType(
    {
        "create_campaign": capabilities.CampaignEditing,
        "update_campaign": capabilities.CampaignEditing,
        "start_campaign": capabilities.CampaignControl,
        "pause_campaign": capabilities.CampaignControl,
        "resume_campaign": capabilities.CampaignControl,
        "stop_campaign": capabilities.CampaignStopping,
        "replace_steps": capabilities.EmailSequences,
        "replace_sequence": capabilities.LinkedInSequences,
        "add_leads": capabilities.LeadAdding,
        "pause_lead": capabilities.LeadPausing,
        "resume_lead": capabilities.LeadPausing,
        "stop_lead": capabilities.LeadStopping,
        "remove_lead": capabilities.LeadRemoving,
        "unsubscribe_lead": capabilities.LeadUnsubscribing,
        "categorize_lead": capabilities.LeadCategories,
        "reply": capabilities.Inbox,
        "register_webhook": capabilities.WebhookRegistration,
        "repair_webhook": capabilities.WebhookUpkeep,
        "delete_webhook": capabilities.WebhookUpkeep,
    }
)


class Seen(StrEnum):
    DONE = "done"  # it is there
    ABSENT = "absent"  # it is not; whether that is a proof says Effect.absence_is_proof
    UNCLEAR = "unclear"  # something is there that may be it: a person looks


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a look showed. `external_id` is that of what the write made, `detail` a sentence for people."""

    seen: Seen
    detail: str
    external_id: str | None = None


# The client, the arguments of the write by their names, and when it was sent -> what the provider shows of it. Only reads.
# Raises what any reading method raises: then nothing was learnt.
ReadBack = Callable[[Any, Mapping[str, Any], datetime], Awaitable[Evidence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How one operation of one provider can be looked for.

    `read_back` None: nothing that the provider shows tells. `absence_is_proof`: what is ABSENT may be sent again; it did
    not happen, or it sets a state and happens once however often it is sent. `read_back_after_seconds` counts from the
    sending: before, an ABSENT means nothing. `may_repeat`: the operation itself looks first and does what is missing, so
    it is simply made again. `why` is for people, in the words of the fact sheet.
    """

    why: str
    read_back: ReadBack | None = None
    absence_is_proof: bool = False
    read_back_after_seconds: float = 120.0
    may_repeat: bool = False

    def __post_init__(self) -> None:
        if self.absence_is_proof and self.read_back is None:
            raise ValueError("a proof needs a look")


def writes_of(client: type[object]) -> frozenset[str]:
    """The operations of all capabilities that `client` offers."""
    return frozenset(name for name, capability in WRITES.items() if issubclass(client, capability))


def offered_by(client: type[object]) -> frozenset[str]:
    """The names of the capabilities that `client` offers."""
    return frozenset(one.__name__ for one in CAPABILITIES if issubclass(client, one))
