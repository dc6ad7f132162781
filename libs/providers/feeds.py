"""All that an account holds, followed list by list: what one page of such a list is, and how far it may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.errors import ProviderUnavailable
from libs.providers.sightings import CampaignSighting, CampaignStatus, Reading

# A campaign in one of these sends nothing more: what it holds is read once more, and then left alone until it changes.
OVER = frozenset({CampaignStatus.COMPLETED, CampaignStatus.STOPPED, CampaignStatus.ARCHIVED})


class ListMoved(ProviderUnavailable):
    """Pages that were not cut from one list. What was read stays; the list is to be begun anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A list to be followed: one for each campaign, or (`of_campaign` False) one for the whole account.

    `overlap`: how far before the end of the last reading the next one begins, as the list may tell something late.
    """

    name: str
    overlap: timedelta
    of_campaign: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCampaign:
    """A campaign as it is listed. `marks`, by feed: a text that stays as it is while that feed has nothing new. A feed
    without a mark is always read."""

    sighting: CampaignSighting
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCampaigns:
    """Every campaign that the key shows. `as_of`: the provider's clock when it told them."""

    campaigns: Sequence[FeedCampaign]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """One page. `rows` is how many the provider told, whatever they state; `after` asks for the next page, None: this was
    the last. `whole_until`: what came later is not told whole yet, and is to be read again."""

    reading: Reading
    rows: int
    after: str | None = None
    whole_until: datetime | None = None
