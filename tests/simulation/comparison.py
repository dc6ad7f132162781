"""A reconciliation hears of its parts and repairs in any order and more than once: each pass ends once, and the run ends."""

from __future__ import annotations

from collections import Counter
from datetime import date
from random import Random
from uuid import UUID

from services.reconciliation.domain import runs
from services.reconciliation.domain.runs import MAX_PASSES, Answer, Difference, Part, Repair, Step

_DAY = date(2026, 7, 11)


def run(rng: Random) -> None:
    campaigns = [UUID(int=number) for number in range(1, rng.randint(2, 5))]
    missing = {campaign: {f"m{number}" for number in range(rng.randint(0, 4))} for campaign in campaigns}
    stubborn = rng.random() < 0.2  # what is pulled does not come
    pass_number, ended = 1, ""
    while not ended:
        assert pass_number <= MAX_PASSES
        parts = _captured(rng, campaigns, missing)
        step = _heard(rng, parts, pass_number)
        if step is Step.FAIL:
            assert any(part.error for part in parts)
            ended = "failed"
        elif step is Step.COMPLETE:
            ended = "completed"
        else:
            repairs = runs.repairs_of(parts)
            _check_repairs(repairs, missing)
            _answered(rng, repairs)
            if not stubborn:
                for repair in repairs:
                    missing[repair.campaign_id] = set()
            pass_number += 1
    if ended == "completed" and not stubborn:
        assert not any(missing.values())


def _captured(rng: Random, campaigns: list[UUID], missing: dict[UUID, set[str]]) -> list[Part]:
    return [
        Part(
            number, len(campaigns), campaign, str(campaign.int), None,
            (Difference("sent", _DAY, tuple((key, f"lead-{key}") for key in sorted(missing[campaign]))),)
            if missing[campaign] else (),
            "away" if rng.random() < 0.02 else None,
        )
        for number, campaign in enumerate(campaigns, 1)
    ]  # fmt: skip


def _heard(rng: Random, parts: list[Part], pass_number: int) -> Step:
    """As they come in: the next step is known exactly when the last of them is there."""
    coming = [part for part in parts for _ in range(rng.randint(1, 3))]
    rng.shuffle(coming)
    known: dict[int, Part] = {}
    step = Step.WAIT
    for part in coming:
        if part.part in known:
            continue  # a repetition changes nothing
        assert step is Step.WAIT, "decided before all parts were in"
        known[part.part] = part
        step = runs.after_capture([*known.values()], pass_number=pass_number, dry_run=False)
    assert step is not Step.WAIT
    return step


def _check_repairs(repairs: list[Repair], missing: dict[UUID, set[str]]) -> None:
    asked = {(repair.campaign_id, lead) for repair in repairs for lead in repair.lead_keys}
    assert asked == {(campaign, f"lead-{key}") for campaign, keys in missing.items() for key in keys}
    assert sum(len(repair.lead_keys) for repair in repairs) == len(asked)


def _answered(rng: Random, repairs: list[Repair]) -> None:
    answers = [Answer(None if rng.random() < 0.1 else repair.campaign_id, None) for repair in repairs]
    rng.shuffle(answers)
    told: list[Answer] = []
    for answer in answers:
        assert not runs.are_answered(repairs, told), "went on before all repairs had ended"
        told.append(answer)
    assert runs.are_answered(repairs, told)
    assert Counter(repair.campaign_id for repair in repairs)
