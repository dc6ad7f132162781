"""A campaign's sequence: which step an id stands for. Mails name the variant that was sent, people the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.errors import Invalid, Unsupported
from libs.providers.emailbison.transport import as_object
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import EmailStep, Variant
from libs.providers.sightings import SequenceStepSighting


def rows_of(value: object) -> Sequence[Fields]:
    """The rows of either answer: `data.sequence_steps` of v1.1, `data` itself of the older route."""
    answer = as_object(value, "steps")
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


def as_steps(rows: Sequence[Fields]) -> Sequence[EmailStep]:
    """Each step with its variants, itself the first. Orders are made 1, 2, 3; a text that continues a thread has a subject
    that is not sent, so it is told as blank."""
    parents = sorted(
        ((row.step("order"), row.identifier("id"), row) for row in rows if _parent_of(row) is None),
        key=lambda found: (found[0] or 0, int(found[1] or 0)),
    )
    made: list[EmailStep] = []
    wait = 0
    for place, (number, found, row) in enumerate(parents, start=1):
        if number is None or found is None:
            raise row.refuse("order" if number is None else "id", "is missing")
        made.append(
            EmailStep(
                number=place,
                delay_days=wait,
                variants=tuple(
                    _variant(one) for one in (row, *(child for child in rows if _parent_of(child) == found))
                ),
                external_id=found,
            )
        )
        wait = int(row.identifier("wait_in_days") or 0)
    return made


def _variant(row: Fields) -> Variant:
    return Variant(
        subject="" if row.flag("thread_reply") else row.text("email_subject") or "",
        body_html=row.text("email_body") or "",
        external_id=row.identifier("id"),
    )


def check(steps: Sequence[EmailStep]) -> None:
    """Raises: Invalid or Unsupported, before anything is sent."""
    if [step.number for step in steps] != list(range(1, len(steps) + 1)) or not steps:
        raise Invalid("steps are numbered 1, 2, 3; there must be one", pointer="/steps")
    if any(step.is_manual for step in steps):
        raise Unsupported("EmailBison has no steps that a person does")
    if steps[0].delay_days != 0 or any(step.delay_days < 1 for step in steps[1:]):
        raise Unsupported("EmailBison waits at least a day before each step but the first, and not before the first")
    if not all(step.variants for step in steps):
        raise Invalid("every step has at least one variant", pointer="/steps")
    if not steps[0].variants[0].subject.strip():
        raise Invalid("the first step needs a subject: there is no thread yet", pointer="/steps")


def texts_to_write(steps: Sequence[EmailStep], number: int) -> list[JsonObject]:
    """One step's variants. A threaded text still wants a subject, the bare one of the thread."""
    step = steps[number - 1]
    waits = steps[number].delay_days if number < len(steps) else 1  # 0 is refused also where nothing follows
    thread = next(one.variants[0].subject for one in reversed(steps[:number]) if one.variants[0].subject.strip())
    return [
        {
            "email_subject": variant.subject if variant.subject.strip() else thread,
            "email_body": variant.body_html,
            "wait_in_days": waits,
            "order": number,
            "thread_reply": not variant.subject.strip(),
            "variant": index > 0,
        }
        for index, variant in enumerate(step.variants)
    ]


def same_steps(wanted: Sequence[EmailStep], found: Sequence[EmailStep]) -> bool:
    """Whether `found` says what `wanted` does, whatever ids it was given."""

    def content(told: Sequence[EmailStep]) -> list[object]:
        return [
            (step.delay_days, sorted((variant.subject.strip(), variant.body_html) for variant in step.variants))
            for step in sorted(told, key=lambda step: step.number)
        ]

    return content(wanted) == content(found)
