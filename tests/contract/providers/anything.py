"""Whatever JSON can hold, and what must hold whatever is posted."""

from __future__ import annotations

from hypothesis import strategies as st

from libs.errors import ContractViolated
from libs.providers.capabilities import WebhookParsing
from libs.providers.sightings import Reading

# Surrogates too: JavaScript escapes half an emoji without a thought.
any_text = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=12)
any_scalar = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    any_scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4), max_leaves=12
)


def holds(webhooks: WebhookParsing, body: bytes) -> None:
    """The door answers, the reader reads or refuses, and what the door quarantines is never read."""
    door = webhooks.read_at_door(body)
    assert (door.dedupe_key is None) == (door.event_type is None) == (door.quarantine_reason is not None)
    try:
        assert isinstance(webhooks.read_webhook(body), Reading)
    except ContractViolated:
        return
    assert door.quarantine_reason is None
