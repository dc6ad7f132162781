"""When a replaced token ends, what the counts suggest, which sources are some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.errors import Invalid
from libs.ids import new_id
from services.provider_sync.domain.endpoints import Counts, EarlierToken, checked_sources, suggestions

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def token(*, overlap: timedelta = 7 * DAY, **more: datetime) -> EarlierToken:
    """Replaced and its successor registered at noon."""
    ends = {"overlap_ends_at": NOON + overlap, "ends_at": NOON + overlap + 7 * DAY}
    return EarlierToken(new_id(), "00", NOON, **ends | more)


@pytest.mark.parametrize(
    ("overlap", "last_used", "asked", "goes_on"),
    [
        (7 * DAY, None, 0 * DAY, 7 * DAY),
        (7 * DAY, None, 7 * DAY - HOUR, HOUR),
        (7 * DAY, None, 7 * DAY, None),
        (7 * DAY, 6 * DAY + HOUR, 7 * DAY, HOUR),  # in use a day before
        (7 * DAY, 6 * DAY, 7 * DAY, None),
        (7 * DAY, 13 * DAY, 13 * DAY, DAY),  # still in use: until the latest, and no longer
        (7 * DAY, 14 * DAY, 14 * DAY, None),
        (HOUR, None, HOUR, 23 * HOUR),  # nobody can tell whether it is in use before a day is over
    ],
)
def test_a_token_ends_when_its_overlap_is_over_and_nobody_uses_it(
    overlap: timedelta, last_used: timedelta | None, asked: timedelta, goes_on: timedelta | None
) -> None:
    used = {} if last_used is None else {"last_used_at": NOON + last_used}

    assert token(overlap=overlap, **used).goes_on_for(NOON + asked) == goes_on


def test_until_its_successor_is_registered_a_token_has_no_end() -> None:
    waiting = EarlierToken(new_id(), "00", NOON)

    assert (waiting.end, waiting.dead_at) == (None, None)
    assert not waiting.is_over(NOON + 900 * DAY)
    assert not waiting.is_dead(NOON + 900 * DAY)


def test_what_ended_early_is_dead_a_month_after_that() -> None:
    ended = token(ended_at=NOON + HOUR)

    assert (ended.is_over(NOON), ended.is_over(NOON + HOUR)) == (False, True)
    assert (ended.is_dead(NOON + 30 * DAY), ended.is_dead(NOON + 30 * DAY + HOUR)) == (False, True)


NONE = Counts(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("signatures", "has_secrets", "counts", "value", "number"),
    [
        ("off", False, NONE, None, ""),
        ("off", True, NONE, "observe", ""),
        ("observe", True, Counts(99, 0, 0, 0, 0), None, ""),
        ("observe", True, Counts(100, 0, 0, 0, 0), "require", "100"),
        ("observe", True, Counts(5000, 1, 0, 0, 0), None, ""),
        ("observe", True, Counts(5000, 0, 1, 0, 0), None, ""),
        ("require", True, Counts(1, 900, 0, 0, 0), None, ""),
        ("require", True, Counts(0, 60, 40, 0, 0), "observe", "100"),
        ("require", True, Counts(0, 60, 39, 0, 0), None, ""),
    ],
)
def test_a_mode_is_suggested_by_numbers_that_are_told(signatures, has_secrets, counts, value, number) -> None:
    found = suggestions(signatures, has_secrets, "observe", False, counts)

    assert [(one.field, one.value) for one in found] == ([] if value is None else [("signature_mode", value)])
    assert all(number in one.because for one in found)


@pytest.mark.parametrize(
    ("mode", "has_sources", "listed", "unlisted", "suggested"),
    [
        ("observe", True, 100, 0, True),
        ("observe", True, 99, 0, False),
        ("observe", True, 100, 1, False),
        ("observe", False, 100, 0, False),
        ("enforce", True, 100, 0, False),
    ],
)
def test_sources_are_suggested_to_be_enforced_once_all_posts_came_from_them(
    mode, has_sources, listed, unlisted, suggested
) -> None:
    found = suggestions("off", False, mode, has_sources, Counts(0, 0, 0, listed, unlisted))

    assert [(one.field, one.value) for one in found] == ([("source_mode", "enforce")] if suggested else [])


def test_sources_have_one_spelling() -> None:
    assert checked_sources(["192.0.2.7", "2001:DB8:0::/32", "192.0.2.7/32"]) == ["192.0.2.7/32", "2001:db8::/32"]


@pytest.mark.parametrize("text", ["192.0.2.7/24", "0.0.0.0/0", "::/0", "hooks.example.com", "", "192.0.2.0/33", "\0"])
def test_what_is_no_source_is_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_sources(["192.0.2.7", text])

    assert refused.value.pointer == "/allowed_sources/1"
