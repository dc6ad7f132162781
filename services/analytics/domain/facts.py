"""Folding facts: of each subject the highest revision, whatever the order and however often they are heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from libs.contracts.events import (
    CampaignRecordedV1,
    EngagementRecordedV1,
    LeadRecordedV1,
    MessageRecordedV1,
    SequenceStepRecordedV1,
)
from libs.ids import CompanyId

Fact = CampaignRecordedV1 | SequenceStepRecordedV1 | LeadRecordedV1 | MessageRecordedV1 | EngagementRecordedV1
FACTS = (CampaignRecordedV1, SequenceStepRecordedV1, LeadRecordedV1, MessageRecordedV1, EngagementRecordedV1)
F = TypeVar("F", CampaignRecordedV1, SequenceStepRecordedV1, MessageRecordedV1, EngagementRecordedV1)


@dataclass(slots=True)
class Folded:
    """The newest of each entity in a batch. `mentioned`: every campaign that any fact names, with its account."""

    campaigns: dict[UUID, CampaignRecordedV1] = field(default_factory=dict)
    steps: dict[UUID, SequenceStepRecordedV1] = field(default_factory=dict)
    messages: dict[UUID, MessageRecordedV1] = field(default_factory=dict)
    engagements: dict[UUID, EngagementRecordedV1] = field(default_factory=dict)
    mentioned: dict[UUID, UUID] = field(default_factory=dict)


def fold(facts: Iterable[Fact]) -> Folded:
    """Leads are kept as facts only: what is counted of them stands in messages and engagements."""
    folded = Folded()
    for fact in facts:
        if isinstance(fact, MessageRecordedV1):
            _keep(folded.messages, fact.message_id, fact)
        elif isinstance(fact, EngagementRecordedV1):
            _keep(folded.engagements, fact.engagement_id, fact)
        elif isinstance(fact, SequenceStepRecordedV1):
            _keep(folded.steps, fact.step_id, fact)
        elif isinstance(fact, CampaignRecordedV1):
            _keep(folded.campaigns, fact.campaign_id, fact)
        else:
            continue
        # Also of revisions that are not the newest: else which campaigns are known would depend on the order.
        if fact.campaign_id is not None:
            folded.mentioned[fact.campaign_id] = fact.account_id
    return folded


def _keep(newest: dict[UUID, F], key: UUID, fact: F) -> None:
    known = newest.get(key)
    if known is None or fact.revision > known.revision:
        newest[key] = fact


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """What the projection holds of a campaign; revision 0 means that no fact of its own was heard yet."""

    revision: int
    company_id: CompanyId | None


class Companies:
    """Whose each child is: its campaign's present company once the campaign is known, till then its own fact's."""

    def __init__(self, known: Mapping[UUID, KnownCampaign], told: Mapping[UUID, CampaignRecordedV1]) -> None:
        self._of = {id_: campaign.company_id for id_, campaign in known.items() if campaign.revision > 0}
        self.newer: list[CampaignRecordedV1] = []
        self.moved: list[tuple[UUID, CompanyId | None]] = []
        for id_, fact in sorted(told.items()):
            before = known.get(id_)
            if before is not None and fact.revision <= before.revision:
                continue
            company = fact.envelope.company_id
            self.newer.append(fact)
            if before is not None and (before.revision == 0 or before.company_id != company):
                self.moved.append((id_, company))
            self._of[id_] = company

    def of(self, fact: SequenceStepRecordedV1 | MessageRecordedV1 | EngagementRecordedV1) -> CompanyId | None:
        if fact.campaign_id is not None and fact.campaign_id in self._of:
            return self._of[fact.campaign_id]
        return fact.envelope.company_id


def newest_told(facts: Sequence[Fact]) -> Fact:
    return max(facts, key=lambda fact: fact.envelope.time)


def newest_of_companies(facts: Iterable[Fact]) -> dict[CompanyId, datetime]:
    """When the newest fact of each company was told."""
    newest: dict[CompanyId, datetime] = {}
    for fact in facts:
        company, told = fact.envelope.company_id, fact.envelope.time
        if company is not None and (company not in newest or newest[company] < told):
            newest[company] = told
    return newest
