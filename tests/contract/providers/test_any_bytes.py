"""Whatever is posted, to any provider's endpoint: the door answers, the reader reads or refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.providers.registry import PROVIDERS
from tests.contract.providers.anything import any_json, holds


@pytest.mark.parametrize("provider", list(PROVIDERS))
@given(body=st.binary(max_size=200))
def test_any_bytes(provider: str, body: bytes) -> None:
    holds(PROVIDERS[provider].webhooks, body)


@pytest.mark.parametrize("provider", list(PROVIDERS))
@given(value=any_json)
def test_any_json(provider: str, value: object) -> None:
    holds(PROVIDERS[provider].webhooks, json.dumps(value).encode())


@pytest.mark.parametrize("provider", list(PROVIDERS))
@pytest.mark.parametrize(
    "start", [b'{"event_type": "EMAIL_SENT", "campaign_id": ', b'{"event": {"type": "EMAIL_SENT"}, "data": ']
)
def test_depth_is_no_way_to_hurt(provider: str, start: bytes) -> None:
    for depth in (100, 1000, 100_000):
        holds(PROVIDERS[provider].webhooks, start + b"[" * depth + b"]" * depth + b"}")
