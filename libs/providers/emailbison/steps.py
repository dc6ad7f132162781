"""A campaign's sequence: which step an id stands for. Mails name the variant that was sent, people the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.providers.fields import Fields
from libs.providers.sightings import SequenceStepSighting


def rows_of(value: object) -> Sequence[Fields]:
    """The rows of either answer: `data.sequence_steps` of v1.1, `data` itself of the older route."""
    answer = Fields({"steps": value}).nested("steps")
    if isinstance(answer.raw.get("data"), list):
        return answer.rows("data")
    return answer.nested("data").rows("sequence_steps")


def numbers_of(rows: Sequence[Fields]) -> Mapping[str, int]:
    """The step's number by the id of a step or of one of its variants, which have no number of their own."""
    numbers: dict[str, int] = {}
    for row in rows:
        number, found = row.step("order"), row.identifier("id")
        if found is not None and number is not None and _parent_of(row) is None:
            numbers[found] = number
    for row in rows:
        parent, found = _parent_of(row), row.identifier("id")
        if found is not None and parent in numbers:
            numbers[found] = numbers[parent]
    return numbers


def sightings(rows: Sequence[Fields], campaign: str, seen_at: datetime) -> tuple[SequenceStepSighting, ...]:
    """The steps, without their variants.

    `wait_in_days` is how long to wait after this step, so a step's delay is what the one before it says.
    """
    numbers = numbers_of(rows)
    named = [(row.identifier("id") or "", row) for row in rows if _parent_of(row) is None]
    steps = sorted(
        ((numbers[found], found, row) for found, row in named if found in numbers), key=lambda step: step[:2]
    )
    found_steps = []
    wait: int | None = 0  # nobody waits before the first
    for number, found, row in steps:
        found_steps.append(
            SequenceStepSighting(
                campaign_external_id=campaign,
                number=number,
                seen_at=seen_at,
                external_id=found,
                subject=row.text("email_subject"),
                delay_days=wait,
            )
        )
        days = row.identifier("wait_in_days")
        wait = int(days) if days is not None else None
    return tuple(found_steps)


def _parent_of(row: Fields) -> str | None:
    """The id of the step that this row is a variant of. v1.1 and the older route have different names for it."""
    return row.identifier("variant_from_step_id", "variant_from_step")
