"""Which way of following an account the numbers speak for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.errors import Unsupported
from libs.ids import AccountId, CompanyId, new_id
from libs.providers.registry import PROVIDERS
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.strategy import Evidence, SyncMode, advise, check_choice, may_pull, mode_of

NOW = datetime(2026, 7, 11, 12, tzinfo=UTC)
HEYREACH = PROVIDERS["heyreach"]
WELL = Evidence(
    by_webhook_only=40,
    by_pull_only=0,
    by_both=0,
    missed_by_webhooks=0,
    without_campaign=3,
    without_step=40,
    engagements=25,
    running_campaigns=2,
    endpoint_status="registered",
    heard_at=NOW - timedelta(minutes=5),
    registered_at=NOW - timedelta(days=9),
)


@pytest.mark.parametrize(
    ("provider", "chosen", "mode", "pulls"),
    [
        ("heyreach", None, SyncMode.WEBHOOK_ONLY, False),
        ("heyreach", "webhook_only", SyncMode.WEBHOOK_ONLY, False),
        ("heyreach", "pull_best_effort", SyncMode.PULL_BEST_EFFORT, True),
        ("smartlead", None, SyncMode.WEBHOOK_AND_PULL, True),
        ("emailbison", None, SyncMode.WEBHOOK_AND_PULL, True),
    ],
)
def test_only_where_lists_are_no_truth_is_there_a_choice(provider, chosen, mode, pulls):
    account = Account(AccountId(new_id()), provider, "email", CompanyId(new_id()), chosen_sync_mode=chosen)

    assert mode_of(PROVIDERS[provider], chosen) is mode
    assert may_pull(account, PROVIDERS[provider]) is pulls


def test_a_choice_is_refused_where_there_is_none():
    check_choice(HEYREACH)
    for provider in ("smartlead", "emailbison"):
        with pytest.raises(Unsupported, match="no sync_mode to choose"):
            check_choice(PROVIDERS[provider])


def test_webhooks_that_tell_all_are_enough():
    advice = advise(HEYREACH, WELL, NOW)

    assert advice.mode is SyncMode.WEBHOOK_ONLY
    assert "all 40 messages" in advice.because[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"endpoint_status": "failed"}, "registration is failed"),
        ({"endpoint_status": None}, "registration is missing"),
        ({"heard_at": NOW - timedelta(hours=25)}, "no webhook for 25 hours while 2 campaigns run"),
        ({"heard_at": None, "registered_at": NOW - timedelta(hours=30)}, "no webhook for 30 hours"),
        ({"by_pull_only": 9, "missed_by_webhooks": 7}, "7 of 49 messages no webhook told of"),
    ],
)
def test_each_sign_of_a_loss_speaks_for_pulling(changes, sentence):
    advice = advise(HEYREACH, replace(WELL, **changes), NOW)

    assert advice.mode is SyncMode.PULL_BEST_EFFORT
    (because,) = advice.because
    assert sentence in because


@pytest.mark.parametrize(
    "changes",
    [
        {"heard_at": NOW - timedelta(hours=24)},
        {"heard_at": NOW - timedelta(days=5), "running_campaigns": 0},
        {"by_pull_only": 500},  # history of before the account was opened
    ],
)
def test_what_is_no_loss_speaks_for_nothing(changes):
    assert advise(HEYREACH, replace(WELL, **changes), NOW).mode is SyncMode.WEBHOOK_ONLY


def test_email_providers_hold_the_truth_in_lists_whatever_the_numbers():
    assert (
        advise(PROVIDERS["smartlead"], replace(WELL, endpoint_status="failed"), NOW).mode is SyncMode.WEBHOOK_AND_PULL
    )
