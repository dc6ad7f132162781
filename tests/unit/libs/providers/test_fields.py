"""Which times are believed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs import clock
from libs.providers.fields import Fields

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00",
        "0999-06-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2026-11-21T12:00:01Z",
    ],
)
def test_a_time_that_cannot_be_is_not_stated(text: str) -> None:
    with clock.frozen(NOW):
        assert Fields({"at": text}).moment("at") is None


@pytest.mark.parametrize("text", ["2000-01-01T00:00:00Z", "2026-11-21T12:00:00Z"])
def test_a_time_that_can_be_is_stated(text: str) -> None:
    with clock.frozen(NOW):
        assert Fields({"at": text}).moment("at") == datetime.fromisoformat(text)


def test_the_next_name_is_asked_when_a_time_is_not_believed() -> None:
    with clock.frozen(NOW):
        found = Fields({"at": "0001-01-01T00:00:00", "created_at": "2026-07-11T12:00:00Z"}).moment("at", "created_at")

    assert found == datetime(2026, 7, 11, 12, tzinfo=UTC)
