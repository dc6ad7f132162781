"""docs/providers.md says of every provider what the code can do, and no more."""

from __future__ import annotations

from libs.providers.registry import PROVIDERS
from tests.contract.providers.table import PAGE, tables, written


def test_the_page_is_what_the_registry_says() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "run `python -m tests.contract.providers.table` and commit docs/providers.md"


def test_the_tables_name_every_provider_and_every_reason() -> None:
    text = tables()
    for provider in PROVIDERS.values():
        assert all(f"{why}." in text for why in provider.lacks.values())
        assert all(effect.why in text for effect in provider.effects.values())
