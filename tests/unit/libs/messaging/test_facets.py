"""What a failed event says it is about, read from bytes that may say anything."""

from __future__ import annotations

from typing import Any

import pytest

from libs.contracts import envelope as envelopes
from libs.errors import RateLimited, TransientError
from libs.ids import OrgId, new_id
from libs.messaging.consumer import MOST_RETRY_AFTER_SECONDS, RetryPolicy
from libs.messaging.failures import Facets, facets_of

ORG, ACCOUNT = OrgId(new_id()), new_id()


def sealed(**more: Any) -> envelopes.Envelope:
    return envelopes.seal(type="thing.told.v1", source="gateway", subject="thing/1", org_id=ORG, **more)


def test_facets_stand_in_the_data_or_among_the_attributes() -> None:
    said = {"account_id": str(ACCOUNT), "provider": "smartlead", "campaign_external_id": 17}
    expected = Facets(ACCOUNT, "smartlead", "17")

    assert facets_of(sealed(data=said)) == expected
    attributes = {"accountid": str(ACCOUNT), "provider": "smartlead", "campaignexternalid": "17"}
    assert facets_of(sealed(binary=b"{}", attributes=attributes)) == expected


@pytest.mark.parametrize("odd", [None, 7.5, True, [], {}, "", "x" * 101, "line\nbreak", "\x00"])
def test_what_is_not_what_its_name_says_is_left_out(odd: Any) -> None:
    assert facets_of(sealed(data={"account_id": odd, "provider": odd, "campaign_id": odd})) == Facets(None, None, None)


def test_a_wait_that_was_asked_for_is_kept_within_reason() -> None:
    policy = RetryPolicy(delays_seconds=(5, 60))

    assert policy.next_delay(RateLimited("slow down", retry_after_seconds=42), 1) == 42
    assert policy.next_delay(RateLimited("slow down", retry_after_seconds=1e9), 1) == MOST_RETRY_AFTER_SECONDS
    assert policy.next_delay(RateLimited("slow down", retry_after_seconds=-5), 1) == 0
    assert policy.next_delay(RateLimited("slow down", retry_after_seconds=42), 3) is None


def test_waits_are_drawn_from_the_whole_of_their_bound() -> None:
    drawn = [RetryPolicy(delays_seconds=(10,)).next_delay(TransientError("away"), 1) for _ in range(500)]

    assert all(one is not None and 0 <= one <= 10 for one in drawn)
    assert min(one for one in drawn if one is not None) < 2 < 8 < max(one for one in drawn if one is not None)
