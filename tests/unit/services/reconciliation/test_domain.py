"""What a comparison says and what follows from it."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from libs.contracts.events import SnapshotCapturedV1, SnapshotDifference, SnapshotDigest
from libs.ids import new_id
from services.reconciliation.domain.runs import (
    LEADS_PER_REPAIR,
    MAX_PASSES,
    Answer,
    Difference,
    Part,
    Step,
    after_capture,
    are_answered,
    differences_of,
    errors_of,
    repairs_of,
)

DAY, NEXT_DAY = date(2026, 3, 10), date(2026, 3, 11)
ONE, TWO = sorted([new_id(), new_id()])
LOST = (("reply:1", "email:ines@example.com"),)


def _part(
    number: int = 1,
    parts: int = 1,
    *,
    missing: tuple[tuple[str, str], ...] = (),
    surplus: tuple[tuple[str, str], ...] = (),
    campaign: UUID | None = ONE,
    error: str | None = None,
) -> Part:
    differences = (Difference("reply", DAY, missing, surplus),) if missing or surplus else ()
    return Part(number, parts, campaign, "c1", None, differences, error)


def _digest(day: date, provider: tuple[int, str], ours: tuple[int, str]) -> SnapshotDigest:
    return SnapshotDigest(
        kind="sent", day=day, provider_count=provider[0], provider_hash=provider[1], our_count=ours[0], our_hash=ours[1]
    )


def _capture(*digests: SnapshotDigest, differences: tuple[SnapshotDifference, ...] = ()) -> SnapshotCapturedV1:
    return SnapshotCapturedV1(
        run_id=new_id(), pass_number=1, account_id=new_id(), campaign_id=ONE, part=1, parts=1, digests=digests,
        differences=differences,
    )  # fmt: skip


def test_equal_digests_are_no_difference() -> None:
    assert differences_of(_capture(_digest(DAY, (2, "aa"), (2, "aa")))) == ()


@pytest.mark.parametrize("ours", [(1, "aa"), (2, "bb")])
def test_another_count_or_another_hash_is_a_difference_even_without_keys(ours: tuple[int, str]) -> None:
    [found] = differences_of(_capture(_digest(DAY, (2, "aa"), ours)))

    assert (found.kind, found.day, found.missing) == ("sent", DAY, ())


def test_keys_belong_to_their_day_and_kind() -> None:
    told = SnapshotDifference(kind="sent", day=NEXT_DAY, missing=LOST)

    found = differences_of(_capture(_digest(DAY, (2, "aa"), (2, "bb")), differences=(told,)))

    assert [(one.day, one.missing) for one in found] == [(DAY, ()), (NEXT_DAY, LOST)]


@pytest.mark.parametrize(
    ("parts", "pass_number", "dry_run", "step"),
    [
        ([], 1, False, Step.WAIT),
        ([_part(1, 2, missing=LOST)], 1, False, Step.WAIT),
        ([_part(1, 2, error="no"), _part(2, 2, missing=LOST)], 1, False, Step.FAIL),
        ([_part(1, 2), _part(2, 2)], 1, False, Step.COMPLETE),
        ([_part(missing=LOST)], 1, False, Step.REPAIR),
        ([_part(missing=LOST)], 1, True, Step.COMPLETE),
        ([_part(missing=LOST)], MAX_PASSES - 1, False, Step.REPAIR),
        ([_part(missing=LOST)], MAX_PASSES, False, Step.COMPLETE),
        ([_part(surplus=LOST)], 1, False, Step.COMPLETE),
        ([_part(missing=(("reply:1", ""),))], 1, False, Step.COMPLETE),  # whose it is nobody knows: nobody to pull
        ([_part(0, 0)], 1, False, Step.COMPLETE),  # an account without campaigns
    ],
)
def test_what_follows_a_capture(parts: list[Part], pass_number: int, dry_run: bool, step: Step) -> None:
    assert after_capture(parts, pass_number=pass_number, dry_run=dry_run) is step


def test_a_lead_is_asked_for_once_and_no_wish_is_too_large() -> None:
    many = tuple((f"reply:{number}", f"lead:{number // 2}") for number in range(4 * LEADS_PER_REPAIR))

    repairs = repairs_of([_part(1, 2, missing=many), _part(2, 2, missing=LOST, campaign=TWO)])

    asked = [(repair.campaign_id, len(repair.lead_keys)) for repair in repairs]
    assert asked == [(ONE, LEADS_PER_REPAIR)] * 2 + [(TWO, 1)]
    leads = [lead for repair in repairs if repair.campaign_id == ONE for lead in repair.lead_keys]
    assert len(leads) == len(set(leads))


def test_an_answer_to_one_campaign_is_none_to_another() -> None:
    repairs = repairs_of([_part(1, 2, missing=LOST), _part(2, 2, missing=LOST, campaign=TWO)])

    assert not are_answered(repairs, [Answer(ONE, None), Answer(ONE, None)])
    assert are_answered(repairs, [Answer(ONE, None), Answer(TWO, "refused")])
    assert are_answered(repairs, [Answer(ONE, None), Answer(None, None)])


def test_alike_reasons_are_told_once() -> None:
    parts = [_part(number, 4, error="no key" if number < 4 else None) for number in range(1, 5)]

    assert errors_of(parts) == "3 of 4 campaigns could not be compared: no key"
