"""What a provider's answers about a campaign are kept as, and our own counts under the provider's headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.providers.records import EMAIL_FIGURES, LINKEDIN_FIGURES, CampaignFigures, EmailStep, Figure
from libs.providers.sightings import EngagementKind

# Which of our engagements is which counter, in occurrences and in people.
_ENGAGEMENTS: Mapping[EngagementKind, tuple[Figure, Figure | None]] = {
    EngagementKind.OPENED: (Figure.OPENED, Figure.UNIQUE_OPENED),
    EngagementKind.CLICKED: (Figure.CLICKED, Figure.UNIQUE_CLICKED),
    EngagementKind.BOUNCED: (Figure.BOUNCED, None),
    EngagementKind.UNSUBSCRIBED: (Figure.UNSUBSCRIBED, None),
    EngagementKind.CONNECTION_REQUESTED: (Figure.CONNECTION_REQUESTS, None),
    EngagementKind.CONNECTION_ACCEPTED: (Figure.CONNECTIONS_ACCEPTED, None),
    EngagementKind.PROFILE_VIEWED: (Figure.PROFILE_VIEWS, None),
    EngagementKind.FOLLOWED: (Figure.FOLLOWS, None),
    EngagementKind.LIKED: (Figure.LIKES, None),
}


def figures_of(channel: str) -> Sequence[Figure]:
    return EMAIL_FIGURES if channel == "email" else LINKEDIN_FIGURES


def figures_to_keep(told: CampaignFigures, steps: Sequence[EmailStep]) -> dict[str, Any]:
    """`steps` is the sequence at about the same time: it tells which step or variant an id stands for."""
    places: dict[str, tuple[int, str | None]] = {}
    for step in steps:
        for index, variant in enumerate(step.variants):
            if variant.external_id is not None:
                name = variant.label or chr(ord("A") + index)  # as providers that name them do
                places[variant.external_id] = (step.number, name if len(step.variants) > 1 else None)
        if step.external_id is not None:
            places.setdefault(step.external_id, (step.number, None))
    by_step: list[dict[str, Any]] = []
    for external_id, counted in told.by_step.items():
        number, label = places.get(external_id, (None, None))
        by_step.append({"external_id": external_id, "number": number, "variant": label} | _named(counted))
    last = 1 + max((number for number, _ in places.values()), default=0)  # what is in no step any more comes last
    by_step.sort(key=lambda one: (one["number"] or last, one["variant"] or ""))
    return {"figures": _named(told.figures), "steps": by_step or None}


def counted_by_us(
    channel: str, messages: Mapping[str, int], engagements: Sequence[Mapping[str, Any]], leads: int
) -> dict[str, int]:
    """Our rows under the names of the provider's counters; `interested` is nothing that we count."""
    counted: dict[Figure, int] = dict.fromkeys(
        (figure for figure in figures_of(channel) if figure is not Figure.INTERESTED), 0
    )
    counted |= {Figure.LEADS: leads, Figure.LEADS_CONTACTED: messages["leads_contacted"]}
    if channel == "email":
        counted |= {Figure.SENT: messages["sent"], Figure.REPLIED: messages["replied"]}
        counted[Figure.UNIQUE_REPLIED] = messages["unique_replied"]
    else:
        counted[Figure.MESSAGES_SENT] = messages["sent"] - messages["inmails_sent"]
        counted[Figure.INMAILS_SENT] = messages["inmails_sent"]
        counted[Figure.UNIQUE_REPLIED] = messages["unique_message_replied"]
        counted[Figure.UNIQUE_INMAIL_REPLIED] = messages["unique_inmail_replied"]
    for row in engagements:
        for figure, kind in zip(_ENGAGEMENTS.get(row["kind"], ()), ("total", "unique"), strict=False):
            if figure in counted:
                counted[figure] = row[kind]
    return _named(counted)


def _named(counted: Mapping[Figure, int]) -> dict[str, int]:
    return {figure.value: count for figure, count in counted.items()}
