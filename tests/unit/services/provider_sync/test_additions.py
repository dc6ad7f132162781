"""What a provider's answer to a batch of leads says of each of them."""

from __future__ import annotations

from typing import Any

import pytest

from libs.providers.records import Addition
from services.provider_sync.domain.additions import decided, not_added

NAMED = {f"email:{name}@example.com": f"{name.title()}@example.com" for name in ("ada", "ben", "cem")}
ADA, BEN, CEM = NAMED


def told(added: int, known: int = 0, refused: dict[str, int] | None = None, **leads: str) -> dict[str, Any]:
    return {
        "added": added,
        "known": known,
        "refused": refused or {},
        "leads": [
            {"key": f"email:{name}@example.com", "outcome": "refused", "reason": why} for name, why in leads.items()
        ],
    }


@pytest.mark.parametrize(
    ("answer", "clear"),
    [
        (told(3), dict.fromkeys(NAMED, Addition.ADDED)),
        (told(0, 3), dict.fromkeys(NAMED, Addition.KNOWN)),
        (told(2, 1), dict.fromkeys(NAMED, Addition.KNOWN)),
        (told(2), {}),
        (told(2, 0, {"blocked": 1}), {}),
        (told(2, 0, {"blocked": 1}, ben="blocked"), {BEN: Addition.REFUSED}),
        (None, {}),
    ],
    ids=["all", "all-known", "some-known", "counts-short", "refused", "refused-by-name", "lost"],
)
def test_only_what_is_clear_is_decided(answer: dict[str, Any] | None, clear: dict[str, Addition]) -> None:
    assert decided(list(NAMED), answer) == clear


def test_who_was_not_named_may_be_any_of_those_who_were_refused() -> None:
    found = not_added(NAMED, "email", told(1, 0, {"unsubscribed": 1, "blocked": 2, "bounced": 1}, ben="unsubscribed"))
    assert found == [
        {"email": "Ada@example.com", "outcome": "undecided", "reason": "blocked or bounced"},
        {"email": "Ben@example.com", "outcome": "refused", "reason": "unsubscribed"},
        {"email": "Cem@example.com", "outcome": "undecided", "reason": "blocked or bounced"},
    ]
    assert [one["reason"] for one in not_added(NAMED, "email", told(2))] == ["the provider did not say why"] * 3
    assert not_added(NAMED, "email", told(1, 2)) == []
